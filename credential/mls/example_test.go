package mls_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/mls"
	"github.com/imidentity/issuer/credential/sdjwt"
	"github.com/imidentity/issuer/statuslist"
)

// A device makes the credential of its leaf, and another member validates it.
func Example() {
	a, err := startAuthority()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer a.server.Close()
	holder := ed25519Key("alice") // the signature key of the device in the group
	fromIssuer, err := (&sdjwt.VC{
		Issuer: issuer, ID: "1", Device: device, User: user, Handle: handle, Key: holder.Public(), IssuedAt: issued, Expires: expires,
		Status: &statuslist.Reference{Index: 0, URI: list},
	}).Sign(signer{}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	const suite mls.CipherSuite = 1 // with Ed25519

	// The device. It shows its handle in the room.
	own, err := mls.Bind(fromIssuer, holder, suite, room, now, "handle")
	if err != nil {
		fmt.Println(err)
		return
	}
	wire, err := own.Marshal() // the field credential of its LeafNode
	if err != nil {
		fmt.Println(err)
		return
	}

	// Another member, which has the bytes of the credential and the key from the LeafNode.
	options := a.options() // a trust.Table, and a statuslist.Reader of 2 bits
	check(context.Background(), wire, mls.Leaf{CipherSuite: suite, SignatureKey: holder.Public().(ed25519.PublicKey), Room: room}, options)
	check(context.Background(), wire, mls.Leaf{CipherSuite: suite, SignatureKey: make([]byte, 32), Room: room}, options)

	// Output:
	// im:u/72b@example.com is im:%40alice@example.com
	// refused: credential: signature_key: wrong_key: not the key that the credential is bound to
}

func check(ctx context.Context, wire []byte, leaf mls.Leaf, options mls.Options) {
	c, err := mls.Parse(wire)
	if err != nil {
		fmt.Println(err)
		return
	}
	member, err := mls.Validate(ctx, c, leaf, options)
	var refused *credential.Error
	switch {
	case err == nil && member.HandleEnded:
		fmt.Println(member.Identity.Device, "has another handle now")
	case err == nil:
		fmt.Println(member.Identity.Device, "is", member.Identity.Handle)
	case errors.Is(err, credential.CodeExpired):
		fmt.Println(member.Identity.Device, "has to send a new credential")
	case errors.Is(err, credential.CodeEnded):
		fmt.Println(member.Identity.Device, "has to be removed")
	case errors.As(err, &refused):
		fmt.Println("refused:", refused)
	default:
		fmt.Println("not known now:", err)
	}
}
