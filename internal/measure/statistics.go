package main

import (
	"cmp"
	"math"
	"slices"
)

// median returns the middle value, or the mean of the two middle ones; NaN of none.
func median[T ~int64 | ~float64](values []T) float64 { return quantile(values, 0.5) }

// quantile returns the value below which the share q of the values lies, interpolated between neighbours; NaN of none.
func quantile[T ~int64 | ~float64](values []T, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.SortedFunc(slices.Values(values), cmp.Compare[T])
	at := q * float64(len(sorted)-1)
	below := int(at)
	if below+1 == len(sorted) {
		return float64(sorted[below])
	}
	part := at - float64(below)
	return float64(sorted[below])*(1-part) + float64(sorted[below+1])*part
}

// A spread is a median with the quartiles beside it: half of the measurements lie between Low and High.
type spread struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

func spreadOf[T ~int64 | ~float64](values []T) spread {
	return spread{median(values), quantile(values, 0.25), quantile(values, 0.75)}
}
