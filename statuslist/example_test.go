package statuslist_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/imidentity/issuer/statuslist"
)

// An issuer publishes a list, and a verifier checks a token by its reference.
func Example() {
	signer, err := makeSigner("k1", "ES256")
	if err != nil {
		fmt.Println(err)
		return
	}
	var address string // of the list
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		list, err := statuslist.New(1, 1<<17)
		if err == nil {
			err = list.Set(4711, statuslist.Invalid)
		}
		now := time.Now()
		token := statuslist.Token{
			Issuer: "https://id.example.net", Subject: address, IssuedAt: now, Expires: now.Add(time.Hour), TTL: time.Minute, List: list,
		}
		signed, err2 := token.Sign(signer)
		if errors.Join(err, err2) != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", statuslist.MediaType)
		fmt.Fprint(w, signed)
	}))
	defer server.Close()
	address = server.URL + "/status/7hJ4kQ"

	reader, err := statuslist.NewReader(statuslist.ReaderConfig{
		Keys:   keys{"https://id.example.net": signer}, // in a real verifier: a table of package trust
		Client: server.Client(),                        // in a real verifier: nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, index := range []uint64{4710, 4711, 1 << 17} {
		// The status claim of a token whose signature and claims were checked.
		claim := fmt.Appendf(nil, `{"status_list":{"idx":%d,"uri":%q}}`, index, address)
		ref, err := statuslist.ParseReference(claim)
		if err != nil {
			fmt.Println(err)
			return
		}
		err = reader.Check(context.Background(), "https://id.example.net", ref)
		var status *statuslist.StatusError
		switch {
		case err == nil:
			fmt.Println("valid")
		case errors.As(err, &status):
			fmt.Println("refused:", status.Status)
		case errors.Is(err, statuslist.ErrUnknown):
			fmt.Println("refused for now:", err)
		}
	}
	// Output:
	// valid
	// refused: INVALID
	// refused for now: statuslist: the index is outside the list: 131072 in a list of 131072 entries
}
