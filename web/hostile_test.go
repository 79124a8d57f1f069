package web_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/signin"
	"github.com/imidentity/issuer/web"
)

// TestHostilePages holds that what others may have written adds no markup to a page: names without a place to break, markup, and
// characters that turn the direction of text. If PAGES names a folder, the pages are written there, for a browser to look at.
func TestHostilePages(t *testing.T) {
	dir := os.Getenv("PAGES")
	const (
		turned = "\u202Egnp.ecila\u202C <b>\u2067bold\u2069</b> עברית" // RIGHT-TO-LEFT OVERRIDE and an isolate
		marked = `"><script>alert(1)</script><img src=x onerror=alert(1)>{{.}}`
	)
	long := strings.Repeat("Donaudampfschifffahrtsgesellschaft", 2)
	for _, tag := range web.Languages() {
		language := web.Choose(tag, nil)
		service := web.Service{Name: long[:64], PrivacyURL: "https://example.com/privacy", TermsURL: "https://example.com/terms"}
		form := web.Form{
			Action: "/login/consent", Cancel: "/login/cancel", Another: "/login/another", State: "state", Language: language, Service: service, RequestID: strings.Repeat("x", 64),
		}
		save := func(name string, show func(w *httptest.ResponseRecorder) error) {
			answer := httptest.NewRecorder()
			if err := show(answer); err != nil {
				t.Fatal(err)
			}
			body := answer.Body.String()
			if strings.Contains(body, "<script") || strings.Contains(body, "<img src=x") {
				t.Errorf("%s in %s has the markup of a name", name, tag)
			}
			if dir == "" {
				return
			}
			if err := os.WriteFile(filepath.Join(dir, name+"."+tag+".html"), []byte(body), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		ask := func(app, person, device string, change func(*signin.ConsentQuestion)) func(w *httptest.ResponseRecorder) error {
			q := signin.ConsentQuestion{
				Consent: oauth.Consent{
					Needed: true, Client: clients.Client{ID: "app", Name: app}, Redirect: "https://" + long[:60] + ".example.com/callback", DeviceName: device,
					Scopes: oauth.Scopes, Audience: []string{"im:example.com", "https://" + long[:60] + ".example.com/" + long}, Life: 180 * 24 * time.Hour,
				},
				Person: person, Provider: "https://login.example.com",
			}
			change(&q)
			return func(w *httptest.ResponseRecorder) error { return web.ShowConsent(w, q, form) }
		}
		same := func(*signin.ConsentQuestion) {}
		save("consent with long names", ask(long, "@"+long+"@example.com", long, same))
		save("consent with turned names", ask(turned, "@علي@example.com", turned, same))
		save("consent with markup", ask(marked, "@"+marked, marked, same))
		save("device limit", ask("Rooms for Friends", "@alice@example.com", "", func(q *signin.ConsentQuestion) { q.Full = true }))
		save("device limit with a known key", ask(long, "@alice@example.com", "", func(q *signin.ConsentQuestion) { q.Full, q.KeyNamed = true, true }))
		phone := time.Date(2026, time.November, 27, 12, 0, 0, 0, time.UTC)
		listed := []signin.LimitDevice{
			{ID: "1", Name: long[:64], Platform: "android", App: long, Added: phone, Seen: phone}, {ID: "2", Name: turned, App: turned, Added: phone},
			{ID: "3", App: marked, Added: phone},
		}
		save("device limit with devices", ask(long, "@"+long+"@example.com", "", func(q *signin.ConsentQuestion) { q.Full, q.Devices, q.NoneChosen = true, listed, true }))
		save("removal of devices", func(w *httptest.ResponseRecorder) error {
			return web.ShowRemoval(w, signin.RemovalQuestion{Devices: listed, Targets: []string{"https://login.example.com"}}, form)
		})
		frame := web.Frame{Language: language, Service: service, RequestID: "x"}
		save("account with long names", func(w *httptest.ResponseRecorder) error {
			return web.ShowAccount(w, web.Account{
				Person: "@" + long + "@example.com", Provider: turned, SignOut: "/account/sign-out", CSRF: "csrf", OtherBrowsers: 2,
				Devices: []web.AccountDevice{
					{Name: long[:64], Platform: "android", Active: true, FirstSeen: phone, LastSeen: phone, Href: "/account/devices/1"},
					{Name: turned, FirstSeen: phone, Href: "/account/devices/2"}, {Name: marked, FirstSeen: phone, Href: "/account/devices/3"},
				},
				Parties: []web.AccountParty{{Name: long, Kind: "account.party.actor", Until: phone, Href: "/account/parties/1"}},
				Events:  []web.AccountEvent{{Kind: "account.event.added", Device: turned, At: phone}},
			}, frame)
		})
		save("device with credentials", func(w *httptest.ResponseRecorder) error {
			return web.ShowAct(w, http.StatusOK, web.Act{
				Texts:  web.ActTexts{Title: "account.device", Text: "account.device.text", Button: "account.device.rename", Label: "account.device.label", Hint: "account.device.hint"},
				Person: "@" + long + "@example.com", Action: "/account/devices/1", Back: "/account", CSRF: "csrf", Field: "name", Value: turned, Remove: "/account/devices/1/remove",
				Device: &web.AccountDevice{
					Name: long[:64], Platform: "android", Active: true, FirstSeen: phone, LastSeen: phone, App: marked, Key: "ES256",
					Credentials: []web.AccountCredential{
						{Format: "dc+sd-jwt", Since: phone, Until: phone, End: "/account/credentials/1/end"},
						{Format: marked, Since: phone, Until: phone, FormerName: true, End: "/account/credentials/2/end"},
						{Format: long, Since: phone, Until: phone, Ended: phone},
					},
				},
			}, frame)
		})
		save("device asks", func(w *httptest.ResponseRecorder) error {
			return web.ShowDevice(w, web.Device{
				Person: "@" + long + "@example.com", Action: "/device", Decide: "/device", CSRF: "csrf", Now: phone,
				Asks: &oauth.DeviceRequest{
					UserCode: "WDJBMJHT",
					Client:   clients.Client{ID: "tv", Name: turned}, DeviceName: long[:64], Network: "2001:db8:1234:5678::/64",
					Scopes: []string{oauth.ScopeHandle}, Audience: []string{"im:example.com"}, CreatedAt: phone,
				},
			}, frame)
		})
		save("QR code of a long address", func(w *httptest.ResponseRecorder) error {
			page := "https://im-id." + long + ".example.com/device"
			return web.ShowDeviceQR(w, web.DeviceQR{Code: "WDJB-MJHT", Complete: page + "?user_code=WDJB-MJHT", Page: page}, frame)
		})
		save("device allowed", func(w *httptest.ResponseRecorder) error {
			return web.ShowDeviceEnd(w, web.DeviceEnd{Allowed: true, Next: "/device"}, frame)
		})
		save("places with long names", func(w *httptest.ResponseRecorder) error {
			return web.ShowPlaces(w, signin.PlaceQuestion{App: turned, Domain: long[:60] + ".example.com", Options: []signin.Option{
				{Value: "a", Label: long}, {Value: "b", Label: turned}, {Value: "c", Label: marked},
			}}, form)
		})
		save("handle refused with a long name", func(w *httptest.ResponseRecorder) error {
			return web.ShowHandle(w, signin.HandleQuestion{
				Handle: long + marked, Result: "@" + long + "@example.com", Before: "@", After: "@" + long[:60] + ".example.com",
				Fault: account.ErrHandleTaken, System: claims.SystemGeneric,
			}, form)
		})
		save("error with a way back", func(w *httptest.ResponseRecorder) error {
			return web.Show(w, web.Page{
				Status: 400, Language: language, Service: service, RequestID: "x", Title: language.Say("error.title"), Text: language.Say("error.request"),
				App: long, Back: "com.example.rooms:/callback?error=access_denied", Facts: []web.Fact{{Name: "redirect_uri", Value: "https://elsewhere.example/" + long + marked}},
			})
		})
	}
}
