package scim_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/imidentity/issuer/internal/scim"
)

const patchURN = "urn:ietf:params:scim:api:messages:2.0:PatchOp"

// said writes an input as one text.
func said(in scim.Input) string {
	text := ""
	if in.UserName != nil {
		text += fmt.Sprintf("userName=%q ", *in.UserName)
	}
	if in.ExternalID != nil {
		text += fmt.Sprintf("externalId=%q ", *in.ExternalID)
	}
	if in.Active != nil {
		text += fmt.Sprint("active=", *in.Active)
	}
	return text
}

func TestReadPatch(t *testing.T) {
	for operations, want := range map[string]string{
		`{"op":"replace","path":"active","value":false}`:                                                             "active=false",
		`{"op":"Replace","path":"ACTIVE","value":"False"}`:                                                           "active=false",
		`{"op":"add","path":"` + scim.SchemaUser + `:active","value":"true"}`:                                        "active=true",
		`{"op":"replace","value":{"active":"FALSE","userName":"a","name.familyName":"x"}}`:                           `userName="a" active=false`,
		`{"op":"replace","value":{"` + scim.SchemaUser + `:userName":"a"}}`:                                          `userName="a" `,
		`{"op":"replace","path":"active","value":false},{"op":"replace","path":"active","value":true}`:               "active=true",
		`{"op":"replace","path":"emails[type eq \"work\" and value co \"]\"].value","value":"x"}`:                    "",
		`{"op":"remove","path":"externalId"}`:                                                                        "",
		`{"op":"replace","path":"externalId","value":null},{"op":"replace","path":"active","value":null}`:            "",
		`{"op":"add","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value","value":"1"}`: "",
		`{"op":"replace","path":"active.value","value":false}`:                                                       "",
		`{"op":"replace","path":"active","value":[{"value":"False"}]}`:                                               "invalidValue",
		`{"op":"replace","path":"active","value":0}`:                                                                 "invalidValue",
		`{"op":"replace","path":"","value":false}`:                                                                   "invalidPath",
		`{"op":"replace","path":"a b","value":false}`:                                                                "invalidPath",
		`{"op":"replace","path":"emails[a[b]]","value":false}`:                                                       "invalidPath",
		`{"op":"replace","path":"emails[a].b[c]","value":false}`:                                                     "invalidPath",
		`{"op":"replace","value":{"active":true,"Active":false}}`:                                                    "invalidValue",
		`{"op":"set","path":"active","value":false}`:                                                                 "invalidSyntax",
		`{"op":"replace","Op":"remove","path":"active","value":false}`:                                               "invalidSyntax",
	} {
		in, err := scim.ReadPatch([]byte(`{"schemas":["` + patchURN + `"],"Operations":[` + operations + `]}`))
		got := said(in)
		if bad := (*scim.Error)(nil); errors.As(err, &bad) {
			got += bad.Type
		}
		if got != want {
			t.Errorf("ReadPatch(%s) = %s, %v, want %s", operations, got, err, want)
		}
	}
}

// FuzzReadPatch: what a PATCH leads to is what its operations say in their order, one by one.
func FuzzReadPatch(f *testing.F) {
	for _, seed := range []string{
		`[{"op":"Replace","path":"active","value":"False"}]`, `[{"op":"replace","value":{"active":true,"userName":"a"}},{"op":"add","path":"userName","value":"b"}]`,
		`[{"op":"remove","path":"emails[type eq \"work\"]"}]`, `[{"op":"remove"}]`, `[]`, `[1]`, `{}`, `[{"op":"replace","path":"externalId","value":"\ud800"}]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, operations []byte) {
		body := func(operations []byte) []byte {
			return append(append([]byte(`{"schemas":["`+patchURN+`"],"Operations":`), operations...), '}')
		}
		in, err := scim.ReadPatch(body(operations))
		if err != nil {
			if bad := (*scim.Error)(nil); !errors.As(err, &bad) || said(in) != "" {
				t.Errorf("ReadPatch = %s, %v, want nothing and an error of SCIM", said(in), err)
			}
			return
		}
		var list []json.RawMessage
		if err := json.Unmarshal(operations, &list); err != nil {
			t.Fatalf("the operations are accepted, and are no list: %v", err)
		}
		var one scim.Input
		for _, o := range list {
			next, err := scim.ReadPatch(body([]byte("[" + string(o) + "]")))
			if err != nil {
				t.Fatalf("%s is accepted among others, and not alone: %v", o, err)
			}
			for _, field := range []struct{ from, to **string }{{&next.UserName, &one.UserName}, {&next.ExternalID, &one.ExternalID}} {
				if *field.from != nil {
					*field.to = *field.from
				}
			}
			if next.Active != nil {
				one.Active = next.Active
			}
		}
		if said(one) != said(in) {
			t.Errorf("ReadPatch = %s, want %s", said(in), said(one))
		}
	})
}

// FuzzReadUser: what is read from a user is what encoding/json finds under one spelling of each name.
func FuzzReadUser(f *testing.F) {
	for _, seed := range []string{
		`{"schemas":["` + scim.SchemaUser + `"],"userName":"a","externalId":"b","active":true,"emails":[{"value":"x"}]}`,
		`{"Schemas":["` + scim.SchemaUser + `"],"USERNAME":"a","active":"False"}`, `{"schemas":[],"userName":"a"}`, `{"userName":"a","username":"b"}`, `[]`, ``,
		`{"schemas":["` + scim.SchemaUser + `"],"` + scim.SchemaUser + `:active":false}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		in, err := scim.ReadUser(body)
		if err != nil {
			if bad := (*scim.Error)(nil); !errors.As(err, &bad) || bad.Status != 400 {
				t.Errorf("error = %v, want one of SCIM", err)
			}
			return
		}
		var members map[string]any
		if err := json.Unmarshal(body, &members); err != nil {
			t.Fatalf("%q is accepted, and is no object: %v", body, err)
		}
		found := func(text string) bool {
			for _, v := range members {
				if s, ok := v.(string); ok && s == text {
					return true
				}
			}
			return false
		}
		for _, s := range []*string{in.UserName, in.ExternalID} {
			if s != nil && !found(*s) {
				t.Errorf("%q is not in %s", *s, body)
			}
		}
	})
}
