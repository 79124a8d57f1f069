package introspect_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/imidentity/issuer/introspect"
)

// A chat server has the issuer check the tokens that it is shown, with a presentation for its own nonce.
func ExampleClient() {
	issuer := httptest.NewServer(http.HandlerFunc(answerAsIssuer)) // in a real program: the URL of the issuer
	defer issuer.Close()
	client, err := introspect.NewClient(introspect.ClientConfig{
		Issuer: issuer.URL, AllowLoopback: true,
		ClientID: "rooms", Secret: "s3cret",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, token := range []string{"of-alice", "copied", "in-an-outage"} {
		fmt.Println(admit(context.Background(), client, token, "a presentation", "n-1"))
	}
	// Output:
	// welcome im:u1@example.com;id-type=user
	// not welcome
	// try again in 7s
}

func admit(ctx context.Context, client *introspect.Client, token, presentation, nonce string) string {
	result, err := client.Introspect(ctx, introspect.Question{
		Token: token,
		Shown: introspect.Shown{Presentation: presentation, Audience: "im:example.com", Nonce: nonce},
	})
	var unknown *introspect.UnknownError
	switch {
	case errors.As(err, &unknown): // the issuer cannot answer: this is not a "no"
		return fmt.Sprint("try again in ", max(unknown.RetryAfter, time.Second))
	case err != nil: // our own credentials, scope or parameters are wrong
		return err.Error()
	case !result.Answer.Active:
		return "not welcome"
	}
	return "welcome " + result.Answer.Subject
}

// ExampleClient_IntrospectAll asks about the members of a room, whose proofs were checked when they came.
func ExampleClient_IntrospectAll() {
	issuer := httptest.NewServer(http.HandlerFunc(answerAsIssuer))
	defer issuer.Close()
	client, err := introspect.NewClient(introspect.ClientConfig{
		Issuer: issuer.URL, AllowLoopback: true, ClientID: "rooms", Secret: "s3cret", AllowUnproven: true,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	members, err := client.IntrospectAll(context.Background(), []string{"of-alice", "of-bob"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, member := range members {
		switch {
		case errors.Is(member.Err, introspect.ErrUnknown):
			fmt.Println("stays for now")
		case member.Err != nil:
			fmt.Println(member.Err)
		case member.Answer.Active:
			fmt.Println(member.Answer.Subject, "stays")
		default:
			fmt.Println("leaves")
		}
	}
	// Output:
	// im:u1@example.com;id-type=user stays
	// leaves
}

// answerAsIssuer answers as an issuer does.
func answerAsIssuer(w http.ResponseWriter, r *http.Request) {
	const active = `{"active":true,"sub":"im:u1@example.com;id-type=user","cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"},` +
		`"token_type":"DPoP","expires_in":60,"max_age":5,"holder":%q}`
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.Method == http.MethodGet:
		fmt.Fprintf(w, `{"issuer":"http://%[1]s","introspection_endpoint":"http://%[1]s/introspect","im_introspection_batch_endpoint":"http://%[1]s/introspect/batch"}`, r.Host)
	case r.URL.Path == "/introspect/batch":
		fmt.Fprintf(w, `{"answers":[`+active+`,{"active":false}]}`, "unverified")
	case r.FormValue("token") == "of-alice":
		fmt.Fprintf(w, active, "verified")
	case r.FormValue("token") == "copied":
		fmt.Fprint(w, `{"active":false}`)
	default:
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}
