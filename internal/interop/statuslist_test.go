package interop_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/browser"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/statuslist"
)

// es256 signs status lists as an issuer does.
type es256 struct{ keyring }

func (s es256) Sign(typ string, claims []byte) (string, error) {
	return jose.Sign(s.keyring["ES256"], "ES256", []byte(`{"typ":"`+typ+`","alg":"ES256","kid":"k1"}`), claims)
}

// npm @sd-jwt/jwt-status-list and docs/status-list.mjs read our lists of 1 and 2 bits, and we read those of the first.
func TestStatusListOfOthers(t *testing.T) {
	const uri = "https://id.example.net/status/1"
	der, err := x509.MarshalPKCS8PrivateKey(signers["ES256"])
	if err != nil {
		t.Fatal(err)
	}
	for _, bits := range []int{1, 2} {
		t.Run(strconv.Itoa(bits), func(t *testing.T) {
			// Ours: some statuses among 2^17.
			list, err := statuslist.New(bits, 1<<17)
			if err != nil {
				t.Fatal(err)
			}
			top := statuslist.Status(1<<bits - 1)
			set := [][2]int{{0, 1}, {9, int(top)}, {4711, 1}, {4712, int(top) &^ 1}, {1<<17 - 1, int(top)}}
			set = slices.DeleteFunc(set, func(s [2]int) bool { return s[1] == 0 })
			for _, s := range set {
				if err := list.Set(uint64(s[0]), statuslist.Status(s[1])); err != nil {
					t.Fatal(err)
				}
			}
			now := time.Now()
			token := statuslist.Token{Issuer: "https://id.example.net", Subject: uri, IssuedAt: now, Expires: now.Add(time.Hour), TTL: time.Minute, List: list}
			ours, err := token.Sign(es256{signers})
			if err != nil {
				t.Fatal(err)
			}
			ref := statuslist.Reference{Index: 4711, URI: uri}
			referring, err := es256{signers}.Sign("at+jwt", append(ref.AppendJSON([]byte(`{"status":`)), '}'))
			if err != nil {
				t.Fatal(err)
			}
			indexes, served := []int{1 << 17}, []string{"unknown: the index is outside the list"}
			for _, i := range []int{0, 1, 2, 3, 4, 7, 8, 9, 10, 4710, 4711, 4712, 4713, 1<<17 - 1} {
				status, err := list.At(uint64(i))
				if err != nil {
					t.Fatal(err)
				}
				indexes = append(indexes, i)
				served = append(served, [...]string{"valid", "invalid", "unknown: the status has no meaning here", "handle_ended"}[status])
			}
			values := []int{1, 0, int(top), 0, 0, 1, 1, 0, 1, 0, 0, int(top)}
			text, err := json.Marshal(values)
			if err != nil {
				t.Fatal(err)
			}
			asked, err := json.Marshal(indexes)
			if err != nil {
				t.Fatal(err)
			}
			out, err := node(t, t.Context(), "statuslist.mjs", map[string]string{
				"LIST": ours, "TOKEN": referring, "KEY": base64.StdEncoding.EncodeToString(der), "VALUES": string(text), "BITS": strconv.Itoa(bits),
				"ISSUER": serveList(t, token), "INDEXES": string(asked),
			}).Output()
			if err != nil {
				t.Fatalf("statuslist.mjs: %v", err)
			}
			var got struct {
				Status, Bits int
				URI, List    string
				Ones         [][2]int
				Served       []string
			}
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatal(err)
			}
			if got.Status != 1 || got.URI != uri || got.Bits != bits || !slices.Equal(got.Ones, set) {
				t.Errorf("the library reads %+v, want %v", got, set)
			}
			if !slices.Equal(got.Served, served) {
				t.Errorf("docs/status-list.mjs reads %q at %v, want %q", got.Served, indexes, served)
			}

			// Its own: the statuses of a short list.
			theirs, err := statuslist.Parse(got.List, statuslist.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if err := theirs.Verify("ES256", signers["ES256"].Public()); err != nil {
				t.Error(err)
			}
			var read []int
			for i := range uint64(len(values)) {
				s, err := theirs.List.At(i)
				if err != nil {
					t.Fatal(err)
				}
				read = append(read, int(s))
			}
			if !slices.Equal(read, values) || theirs.Subject != uri || theirs.TTL != 5*time.Minute {
				t.Errorf("Parse = %v of %+v, want %v", read, fmt.Sprint(theirs.Token), values)
			}
		})
	}
}

// serveList serves a status list at /status/1, and the key that signs it, as an issuer whose URL it returns.
func serveList(t *testing.T, token statuslist.Token) string {
	t.Helper()
	jwk, err := jose.MarshalJWK(signers["ES256"].Public())
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	issuer := httptest.NewServer(mux)
	t.Cleanup(issuer.Close)
	token.Issuer, token.Subject = issuer.URL, issuer.URL+"/status/1"
	list, err := token.Sign(es256{signers})
	if err != nil {
		t.Fatal(err)
	}
	for path, document := range map[string][2]string{
		"/status/1": {"application/statuslist+jwt", list},
		"/jwks":     {"application/json", fmt.Sprintf(`{"keys":[{"kid":"k1","alg":"ES256",%s]}`, jwk[1:])},
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", document[0])
			_, _ = io.WriteString(w, document[1]) // the test reads what arrives
		})
	}
	return issuer.URL
}

// statusLists runs the JavaScript of docs/status-list.md and npm @sd-jwt/jwt-status-list against the issuer: both see a session end.
func statusLists(t *testing.T, ctx context.Context, issuer string) {
	const verifier, challenge = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	query := url.Values{
		"response_type": {"code"}, "client_id": {"im-app"}, "redirect_uri": {redirect},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"},
	}
	back, err := browser.New(nil).Login(ctx, issuer+"/authorize?"+query.Encode(), browser.To(redirect),
		map[string]string{"login": "bob", "password": "bob"})
	if err != nil {
		t.Fatal(err)
	}
	script := node(t, ctx, "statuses.mjs", map[string]string{
		"ISSUER": issuer, "CLIENT_ID": "im-app", "CODE": back.Query().Get("code"), "CODE_VERIFIER": verifier, "REDIRECT_URI": redirect,
	})
	script.Stderr = t.Output()
	printed, err := script.Output()
	const want = "before: valid 0\nafter: invalid 1\nindex unknown\nlist unknown\naddress unknown\nissuer unknown\nstatus unknown\nkeys unknown\n"
	if err != nil || string(printed) != want {
		t.Errorf("statuses.mjs = %v and\n%s\nwant\n%s", err, printed, want)
	}
}
