package places_test

import (
	"fmt"

	"github.com/imidentity/issuer/places"
	"github.com/imidentity/issuer/verdict"
)

// Bob looked at Alice's places last week, and looks again.
func ExampleVerify() {
	text := profile(master, "dns:alice.example", "https://social.example/@alice")
	p, err := places.ParseProfile(text)
	if err != nil {
		fmt.Println(err)
		return
	}
	var looks []places.Look // of a Reader
	for _, place := range p.Places {
		looks = append(looks, places.Look{Place: place, Shows: []string{p.Fingerprint()}})
	}
	memories := places.Memories{}
	for days := range 9 {
		report, err := places.Verify(places.Query{
			About: verdict.About{User: id}, Address: address(master), Profile: text, Looks: looks, Memory: memories.Of(id),
			Require: verdict.DefaultPolicy().Methods.Places,
		}, now.AddDate(0, 0, days))
		if err != nil {
			fmt.Println(err)
			return
		}
		memories = memories.With(id, report.Memory) // store them
		if days%8 == 0 {
			fmt.Println(report.Verdict.User.Result, report.Verdict.User.Details)
		}
	}
	// Output:
	// none master key CDL4E4LP… named by alice.example and social.example, by 0 of them for 7 days
	// good master key CDL4E4LP… named by alice.example and social.example
}
