package nested_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/nested"
)

// A bot acts for Alice: the issuer of Alice signs the grant, the bot's issuer puts it into the bot's token, and a verifier opens
// that. Then Alice withdraws the grant.
func Example() {
	grant, err := nested.Statement{
		Type: nested.TypeActor, Issuer: home, Subject: alice, Handle: aliceHandle, Audience: []string{bridge},
		Party: bot, PartyIssuer: bridge, Scope: "im:handle", JTI: "grant-1", IssuedAt: now, Expires: at(10),
	}.Sign(signers[home].sign) // in the issuer, the method Sign of its key ring
	if err != nil {
		log.Fatal(err)
	}

	tokens, err := nested.Build(nested.Entry{Relation: nested.ActsFor, Token: grant})
	if err != nil {
		log.Fatal(err)
	}
	set := claims.Set{
		Issuer: bridge, Subject: bot, Handle: botHandle, Audience: []string{verifier}, ClientID: "bot", Scope: "im:handle",
		JTI: "token-1", IssuedAt: now, Expires: at(10), JKT: botKey.jkt(), Tokens: tokens,
	}
	o := options()
	if _, err := nested.Check(context.Background(), set, o); err != nil {
		log.Fatal(err) // an issuer signs nothing that it would not believe
	}
	token, err := signers[bridge].sign(nested.TypeAccessToken, set.AppendJSON(nil))
	if err != nil {
		log.Fatal(err)
	}

	withdrawn := map[string]bool{}
	o.Revoked = func(_ context.Context, l *nested.Layer) (bool, error) { return withdrawn[l.JTI()], nil }
	tree, err := nested.Open(context.Background(), token, o)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(tree.Explain())

	withdrawn["grant-1"] = true
	_, err = nested.Open(context.Background(), token, o)
	var refused *nested.Error
	if errors.As(err, &refused) {
		fmt.Println(refused.Path, refused.Code)
	}
	// Output:
	// bridge.example's bot acts for Alice (@alice@example.com) until 14:05 UTC.
	// Scope: im:handle.
	//
	// token: at+jwt by https://id.bridge.example (key id.bridge.example-1), valid from 13:55 UTC until 14:05 UTC
	// tokens[0]: im-actor+jwt by https://issuer.example.com (key issuer.example.com-1), valid from 13:55 UTC until 14:05 UTC
	// tokens[0] revoked
}

// said prints what the relations of a token come to.
func said(token string, types ...string) {
	o := options()
	o.Types = types
	tree, err := nested.Open(context.Background(), token, o)
	if err != nil {
		fmt.Println(err)
		return
	}
	sentences, _, _ := strings.Cut(tree.Explain(), "Scope:")
	sentences, _, _ = strings.Cut(sentences, "Revocation")
	fmt.Print(sentences)
}

func ExampleRelation_cascade() {
	said(deviceStatement(), nested.TypeDevice)
	said(aliceToken(inside(value(nested.AttestedBy, deviceStatement())))) // countersigned by the issuer
	// Output:
	// 3h3aNq0mWk2o1c8vXfYJrg/072b@example.com belongs to Alice (@alice@example.com), signed with the user's own key, until 14:25 UTC.
	// A key of Alice (@alice@example.com) vouches for 3h3aNq0mWk2o1c8vXfYJrg/072b@example.com until 14:04 UTC.
	// 3h3aNq0mWk2o1c8vXfYJrg/072b@example.com belongs to Alice (@alice@example.com), signed with the user's own key, until 14:25 UTC.
}

func ExampleRelation_separate() {
	said(aliceToken(inside(value(nested.Separate, userToken()))))
	// Output:
	// 3h3aNq0mWk2o1c8vXfYJrg/072b@example.com is a device of Alice (@alice@example.com) until 14:00 UTC.
}

func ExampleRelation_actsFor() {
	said(botToken(inside(value(nested.ActsFor, grant()))))
	// Output:
	// bridge.example's bot acts for Alice (@alice@example.com) until 14:04 UTC.
}

func ExampleRelation_memberOf() {
	said(aliceToken(inside(value(nested.MemberOf, member()))))
	// Output:
	// Alice (@alice@example.com) is "lead" in ##engineering@school.example until 14:04 UTC.
}

func ExampleRelation_guardianOf() {
	said(aliceToken(inside(value(nested.GuardianOf, guardian()))))
	// Output:
	// Alice (@alice@example.com) is a guardian of Kim (@kim@school.example) until 14:04 UTC.
}

func ExampleRelation_sameAs() {
	said(aliceToken(halves()))
	// Output:
	// Alice (@alice@example.com) and a11ce@old.example are the same person until 14:04 UTC.
}

func ExampleRelation_renamedFrom() {
	said(aliceToken(inside(value(nested.RenamedFrom, rename()))))
	// Output:
	// @alice@example.com was formerly @alex@example.com.
}

func ExampleRelation_movedFrom() {
	said(aliceToken(inside(value(nested.MovedFrom, move()))))
	// Output:
	// Alice (@alice@example.com) was formerly Alice (@alice@old.example).
}

func ExampleRelation_attestedBy() {
	said(aliceToken(inside(value(nested.AttestedBy, vouched()))))
	// Output:
	// https://vouch.example knows the holder as n0b0dy@vouch.example until 14:04 UTC.
}
