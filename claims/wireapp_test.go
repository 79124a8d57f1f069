package claims_test

import (
	"testing"

	"github.com/imidentity/issuer/claims"
)

// The wireapp: URIs are those of Wire's own software, and read back as what they were made of.
func TestWireApp(t *testing.T) {
	names, err := claims.NewNamespace(claims.SystemWire, "wire.example", true)
	if err != nil {
		t.Fatal(err)
	}
	handle, err1 := names.Handle("beltram_wire")
	device, err2 := names.Device("0b36df16-30ce-42b7-a709-b0f156682717", "594930e9d50bb175")
	user, err3 := names.User("0b36df16-30ce-42b7-a709-b0f156682717")
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	other, err := claims.Handle("wire.example", "alice")
	if err != nil {
		t.Fatal(err)
	}
	for want, id := range map[string]claims.ID{
		"wireapp://%40beltram_wire@wire.example":                         handle,
		"wireapp://CzbfFjDOQrenCbDxVmgnFw!594930e9d50bb175@wire.example": device,
	} {
		if got := id.WireApp(); got != want {
			t.Errorf("WireApp = %q, want %q", got, want)
		}
		if back, err := claims.ParseLenient(want); err != nil || back != id {
			t.Errorf("ParseLenient(%s) = %v, %v, want %v", want, back, err, id)
		}
	}
	for _, id := range []claims.ID{user, other, names.DomainID(), {}} {
		if got := id.WireApp(); got != "" {
			t.Errorf("WireApp of %v = %q, want none", id, got)
		}
	}
}
