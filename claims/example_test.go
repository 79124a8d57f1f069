package claims_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/imidentity/issuer/claims"
)

// show prints an identifier with all of its forms.
func show(id claims.ID, err error) {
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(id.System(), id.Type(), id.Native(), id.IM(), id.MIMI())
}

// Signed text is read strictly: another spelling of it is refused, not repaired.
func ExampleParse() {
	id, err := claims.Parse("im:BFuVxW5BfqaMEfJDc8R7Qw/4c7@example.com")
	fmt.Println(id.Type(), id.Domain(), id.Local(), id.Device(), err)

	_, err = claims.Parse("im:@Alice@example.com")
	fmt.Println(err, errors.Is(err, claims.CodeNotCanonical))
	// Output:
	// device example.com BFuVxW5BfqaMEfJDc8R7Qw 4c7 <nil>
	// claims: uri: not_canonical at byte 0 true
}

// What people type is mapped to the canonical form.
func ExampleParseLenient() {
	id, err := claims.ParseLenient("IM:@Alice@EXAMPLE.com.")
	fmt.Println(id, err)
	// Output:
	// im:%40alice@example.com <nil>
}

// Names that are about to be given away must not fool people.
func ExampleParseRegistration() {
	for _, uri := range []string{"im:@Alice@provider.net", "im:@adm1n@provider.net", "im:@\u0430lice@provider.net"} {
		id, err := claims.ParseRegistration(uri)
		fmt.Println(id, err)
	}
	// Output:
	// im:%40alice@provider.net <nil>
	//  claims: local: confusable at byte 0
	//  claims: local: mixed_script at byte 2
}

func ExampleNamespace() {
	ns, err := claims.NewNamespace(claims.SystemWire, "provider.net", false)
	if err != nil {
		fmt.Println(err)
		return
	}
	show(ns.Device("0fd3e0dc-a2ff-4965-8873-509f0af0a75c", "72b"))
	// Output:
	// wire device 0fd3e0dc-a2ff-4965-8873-509f0af0a75c:72b@provider.net im:wire=0fd3e0dc-a2ff-4965-8873-509f0af0a75c/72b@provider.net mimi://provider.net/d/0fd3e0dc-a2ff-4965-8873-509f0af0a75c/72b
}

func ExampleParser_ParseNative_generic() {
	p := claims.Parser{Reading: claims.Lenient}
	show(p.ParseNative(claims.SystemGeneric, "@Juliet@Example.com"))
	show(p.ParseNative(claims.SystemGeneric, "@juliet"))
	// Output:
	// generic handle @juliet@example.com im:%40juliet@example.com mimi://example.com/u/juliet
	// generic handle @juliet im:%40juliet@local.invalid mimi://local.invalid/u/juliet
}

func ExampleParser_ParseNative_email() {
	show(claims.Parser{}.ParseNative(claims.SystemEmail, "juliet+im@example.com"))
	// Output:
	// email handle juliet+im@example.com im:juliet+im@example.com mimi://example.com/u/juliet+im
}

// The resource stands last in a JID, and before the domain in an im: URI.
func ExampleParser_ParseNative_xmpp() {
	show(claims.Parser{}.ParseNative(claims.SystemXMPP, "juliet@example.com/balcony"))
	// Output:
	// xmpp device juliet@example.com/balcony im:xmpp=juliet/balcony@example.com mimi://example.com/d/juliet/balcony
}

// IRC names do not tell their network, and fold by its casemapping.
func ExampleParser_ParseNative_irc() {
	p := claims.Parser{Reading: claims.Lenient, Network: "irc.example.com"}
	show(p.ParseNative(claims.SystemIRC, "#Project[X]"))
	show(p.ParseNative(claims.SystemIRC, "Juliet!jcapulet1583@example.com"))
	// Output:
	// irc channel #project{x} im:irc=irc.example.com/%23project%7Bx%7D,ischannel mimi://irc.example.com/r/project%7Bx%7D
	// irc user !jcapulet1583@example.com im:irc=irc.example.com/%21jcapulet1583%40example.com,isuser mimi://irc.example.com/u/jcapulet1583@example.com
}

// A contact on an IP address belongs to no provider and has no mimi: form.
func ExampleParser_ParseNative_sip() {
	p := claims.Parser{Reading: claims.Lenient}
	show(p.ParseNative(claims.SystemSIP, "sip:Juliet@Example.com;transport=tcp"))
	show(p.ParseNative(claims.SystemSIP, "sip:juliet@[2001:DB8:0::1]"))
	// Output:
	// sip handle sip:Juliet@example.com im:sip=Juliet@example.com mimi://example.com/u/Juliet
	// sip device sip:juliet@[2001:db8::1] im:sip=juliet@%5B2001%3Adb8%3A%3A1%5D
}

func ExampleParser_ParseNative_wire() {
	p := claims.Parser{Reading: claims.Lenient}
	show(p.ParseNative(claims.SystemWire, "0FD3E0DC-A2FF-4965-8873-509F0AF0A75C/072b@example.com"))
	// Output:
	// wire device 0fd3e0dc-a2ff-4965-8873-509f0af0a75c:72b@example.com im:wire=0fd3e0dc-a2ff-4965-8873-509f0af0a75c/72b@example.com mimi://example.com/d/0fd3e0dc-a2ff-4965-8873-509f0af0a75c/72b
}

func ExampleParser_ParseNative_wxyz() {
	show(claims.Parser{}.ParseNative(claims.SystemWXYZ, "##engineering/projX@example.com"))
	// Output:
	// wxyz channel ##engineering/projX@example.com im:wxyz=%23%23engineering/projX@example.com mimi://example.com/r/engineering%2FprojX
}

// A mimi: URI does not tell its system, nor a handle from a user id.
func ExampleParse_mimi() {
	id, err := claims.Parse("mimi://example.com/u/juliet")
	fmt.Println(id.System(), id.Type(), id.Local(), err)
	// Output:
	// mimi user juliet <nil>
}

func ExampleSameAccount() {
	a, _ := claims.Parse("im:%40alice@example.com")
	b, _ := claims.Parse("im:xmpp=alice@example.com")
	c, _ := claims.Parse("im:%40alice@example.net")
	fmt.Println(a.Equal(b), claims.SameAccount(a, b, nil), claims.SameAccount(a, c, nil))
	// Output:
	// false true false
}

func ExampleCollisionKey() {
	a, _ := claims.Handle("example.com", "Ali.Ce")
	b, _ := claims.Handle("example.com", "\u0430li\u0441e") // with two Cyrillic letters
	fmt.Println(claims.CollisionKey(a) == claims.CollisionKey(b))
	// Output:
	// true
}

func ExampleSet() {
	now := time.Unix(1700000000, 0)
	set := claims.Set{
		Issuer:   "https://id.provider.net",
		Subject:  "im:BFuVxW5BfJc8R7Qw@provider.net;id-type=user",
		Device:   "im:BFuVxW5BfJc8R7Qw/72b@provider.net",
		Audience: []string{"im:provider.net"},
		ClientID: "app",
		JTI:      "1",
		IssuedAt: now,
		Expires:  now.Add(10 * time.Minute),
		JKT:      "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
	}
	fmt.Println(string(set.AppendJSON(nil)))

	expect := claims.Expect{
		Issuer: "https://id.provider.net", Audience: "im:provider.net", Domains: []string{"provider.net"}, Now: now,
	}
	fmt.Println(set.Validate(expect))
	set.Device = "im:other/72b@provider.net"
	fmt.Println(set.Validate(expect))
	// Output:
	// {"iss":"https://id.provider.net","sub":"im:BFuVxW5BfJc8R7Qw@provider.net;id-type=user","device":"im:BFuVxW5BfJc8R7Qw/72b@provider.net","aud":"im:provider.net","client_id":"app","jti":"1","iat":1700000000,"exp":1700000600,"cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}
	// <nil>
	// claims: device: does not agree with the subject
}
