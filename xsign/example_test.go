package xsign_test

import (
	"fmt"
	"strings"

	"github.com/imidentity/issuer/verdict"
	"github.com/imidentity/issuer/xsign"
)

// The issuer says that the laptop is Alice's. Her own list does not have it.
func ExampleVerify() {
	// Bob compared Alice's master key in November.
	pins := xsign.Pins{}.ByHand(alice.id, jkt(alice.master), now.AddDate(0, 0, -20))

	about := verdict.About{User: alice.id, Device: laptop, JKT: laptopKey}
	byKeys, pins, err := xsign.Verify(xsign.Query{About: about, Bundle: bundle(), Pins: pins}, now)
	if err != nil {
		fmt.Println(err)
		return
	}
	pin, _ := pins.Of(alice.id)
	fmt.Println("to store: device list", pin.Devices.Seq)

	good := verdict.Finding{Result: verdict.Good, Checked: now}
	byIssuer := verdict.Verdict{Method: verdict.Hierarchy, About: about, User: good, Device: good}
	decision, err := verdict.Decide(verdict.DefaultPolicy(), []verdict.Verdict{byIssuer, byKeys}, now)
	if err != nil {
		fmt.Println(err)
		return
	}
	first, _, _ := strings.Cut(decision.Explain(now), ": ")
	fmt.Println(first, "by", decision.Judgments[1].Rule)
	// Output:
	// to store: device list 7
	// quarantined by F3
}
