package config

import (
	"encoding/hex"
	"errors"
	"math"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// atoms has a parser for each type that is written as one scalar. An error says which form is expected. A string is taken
// literally, so an id or a hash that consists of digits needs no quotes.
var atoms = map[reflect.Type]func(string) (any, error){
	reflect.TypeFor[string](): func(s string) (any, error) { return s, nil },
	reflect.TypeFor[bool](): func(s string) (any, error) {
		if s != "true" && s != "false" {
			return nil, errors.New("true or false")
		}
		return s == "true", nil
	},
	reflect.TypeFor[int](): func(s string) (any, error) {
		i, err := strconv.ParseInt(s, 10, 32)
		if err != nil {
			return nil, errors.New("a whole number")
		}
		return int(i), nil
	},
	reflect.TypeFor[Share](): func(s string) (any, error) {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || strings.Trim(s, "0123456789.") != "" || f > 1 {
			return nil, errors.New("a number from 0 to 1, such as 0.1")
		}
		return Share(f), nil
	},
	reflect.TypeFor[time.Duration](): duration,
	reflect.TypeFor[Rate]():          rate,
	reflect.TypeFor[Period](): func(s string) (any, error) {
		if s == "never" {
			return Period(0), nil
		}
		t, err := duration(s)
		if err != nil || t == time.Duration(0) {
			return nil, errors.New("a duration such as 36h or 90d, in whole seconds, or never")
		}
		return Period(t.(time.Duration)), nil
	},
	reflect.TypeFor[netip.Prefix](): func(s string) (any, error) {
		p, err := netip.ParsePrefix(s)
		if err != nil || p != p.Masked() {
			return nil, errors.New("a network such as 10.0.0.0/8 or fd00::/8")
		}
		return p, nil
	},
	reflect.TypeFor[[32]byte](): func(s string) (any, error) {
		var sum [32]byte
		if n, err := hex.Decode(sum[:], []byte(s[:min(len(s), 64)])); err != nil || n != 32 || len(s) != 64 {
			return nil, errors.New("64 hexadecimal digits: make them with `printf %s SECRET | sha256sum`")
		}
		return sum, nil
	},
}

// duration parses the durations of [time.ParseDuration], in whole seconds, and whole days such as 14d.
func duration(s string) (any, error) {
	wrong := errors.New("a duration such as 90s, 10m, 36h or 14d, in whole seconds")
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 32)
		if err != nil || n > math.MaxInt64/uint64(24*time.Hour) {
			return nil, wrong
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	t, err := time.ParseDuration(s)
	if err != nil || t < 0 || t%time.Second != 0 {
		return nil, wrong
	}
	return t, nil
}

// rate parses a number of requests and a time, such as 600/1m, or off.
func rate(s string) (any, error) {
	if s == "off" {
		return Rate{}, nil
	}
	count, per, _ := strings.Cut(s, "/")
	n, err := strconv.ParseUint(count, 10, 32)
	t, err2 := duration(per)
	if err != nil || err2 != nil || n < 1 || n > 10_000_000 || t.(time.Duration) < time.Second || t.(time.Duration) > 24*time.Hour {
		return nil, errors.New("off, or a number of requests and a time, such as 600/1m: 1 to 10000000 in 1s to 1d")
	}
	return Rate{int(n), t.(time.Duration)}, nil
}
