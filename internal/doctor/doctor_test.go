package doctor_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/doctor"
)

// On a good site the doctor warns only of development settings, and possibly of the disk of the machine.
func TestHealthy(t *testing.T) {
	found := newSite(t).examine(t)
	found.wantNone(t, nil, doctor.Fail, doctor.Unknown)
	found.wantNone(t, []string{"domains", "data"}, doctor.Warn)
	found.want(t, "domains", doctor.Warn, "example.com")
	for check, words := range map[string]string{
		"files": "nobody but the issuer", "admin": "answers at", "dns": "dev_hosts", "tls": "valid for 59 more days", "front door": "leads to this issuer",
		"proxy": "trusted", "clock": "agrees with https://" + host, "replay": "memory",
		"provider corp": "register the redirect URI https://" + host + "/login/callback/corp",
	} {
		found.want(t, check, doctor.OK, words)
	}
}

// Faults between the Internet and the issuer.
func TestFrontDoor(t *testing.T) {
	const day = 24 * time.Hour
	only := func(path string, do http.HandlerFunc) func(http.Handler) http.Handler {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if path == "" || r.URL.Path == path {
					do(w, r)
					return
				}
				next.ServeHTTP(w, r)
			})
		}
	}
	const metadata = "/.well-known/oauth-authorization-server"
	for _, test := range []struct {
		name   string
		breaks func(t *testing.T, s *site)
		check  string
		status doctor.Status
		words  string
	}{
		{"self-signed", func(t *testing.T, s *site) {
			s.cert = func(ca *authority) tls.Certificate { return signedBy(t, nil, ca.template(host)).chain() }
		}, "tls", doctor.Fail, "signed by itself"},
		{"unknown authority", func(t *testing.T, s *site) {
			s.cert = func(*authority) tls.Certificate {
				other := newAuthority(t)
				return signedBy(t, other, other.template(host)).chain(other)
			}
		}, "tls", doctor.Fail, "no authority that is known here"},
		{"chain not sent", func(t *testing.T, s *site) {
			s.cert = func(ca *authority) tls.Certificate {
				between := ca.template("Intermediate")
				between.IsCA, between.BasicConstraintsValid, between.KeyUsage = true, true, x509.KeyUsageCertSign
				between.ExtKeyUsage = nil
				return signedBy(t, signedBy(t, ca, between), ca.template(host)).chain()
			}
		}, "tls", doctor.Fail, "comes alone"},
		{"expired", func(t *testing.T, s *site) {
			s.cert = func(ca *authority) tls.Certificate {
				c := ca.template(host)
				c.NotAfter = time.Now().Add(-day)
				return ca.issue(t, c)
			}
		}, "tls", doctor.Fail, "expired"},
		{"not valid yet", func(t *testing.T, s *site) {
			s.cert = func(ca *authority) tls.Certificate {
				c := ca.template(host)
				c.NotBefore = time.Now().Add(day)
				return ca.issue(t, c)
			}
		}, "tls", doctor.Fail, "not valid before"},
		{"expires soon", func(t *testing.T, s *site) {
			s.cert = func(ca *authority) tls.Certificate {
				c := ca.template(host)
				c.NotAfter = time.Now().Add(20 * day)
				return ca.issue(t, c)
			}
		}, "tls", doctor.Warn, "expires in 19 days"},
		{"another name", func(t *testing.T, s *site) {
			s.cert = func(ca *authority) tls.Certificate { return ca.issue(t, ca.template("www.example.com")) }
		}, "tls", doctor.Fail, "not for " + host},
		{"another issuer", func(t *testing.T, s *site) {
			s.handler = rewritten(metadata, func(doc map[string]any) { doc["issuer"] = "https://other.example.com" })
		}, "front door", doctor.Fail, `calls itself "https://other.example.com"`},
		{"closing slash", func(t *testing.T, s *site) {
			s.handler = rewritten(metadata, func(doc map[string]any) { doc["issuer"] = doc["issuer"].(string) + "/" })
		}, "front door", doctor.Fail, "calls itself"},
		{"path not handed on", func(t *testing.T, s *site) { s.handler = only(metadata, http.NotFound) },
			"front door", doctor.Fail, "answers 404"},
		{"a page instead", func(t *testing.T, s *site) {
			s.handler = only("", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<!doctype html><p>Welcome") })
		}, "front door", doctor.Fail, "does not answer with metadata"},
		{"redirect", func(t *testing.T, s *site) {
			s.handler = only("", func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://www.example.com"+r.URL.Path, http.StatusMovedPermanently)
			})
		}, "front door", doctor.Fail, "redirect"},
		{"proxy leads nowhere", func(t *testing.T, s *site) { s.request = func(r *http.Request) { r.URL.Host = "127.0.0.1:1" } },
			"front door", doctor.Fail, "answers 502"},
		{"no nonce handed on", func(t *testing.T, s *site) {
			s.answer = func(r *http.Response) error { r.Header.Del("DPoP-Nonce"); return nil }
		}, "proxy", doctor.Fail, "no nonce"},
		{"nonce from a cache", func(t *testing.T, s *site) {
			s.answer = func(r *http.Response) error {
				r.Header.Set("DPoP-Nonce", "AAAAAAAAAAAAAAAAAAAAAA")
				return nil
			}
		}, "proxy", doctor.Fail, "not one of the issuer that runs here"},
		{"no proof handed on", func(t *testing.T, s *site) { s.request = func(r *http.Request) { r.Header.Del("DPoP") } },
			"proxy", doctor.Fail, "does not arrive"},
		{"no POST", func(t *testing.T, s *site) {
			s.handler = only("/token", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "forbidden", http.StatusForbidden) })
		}, "proxy", doctor.Fail, "answers 403"},
		{"proxy not trusted", func(t *testing.T, s *site) { s.settings = "" }, "proxy", doctor.Warn, "trusted_proxies names none"},
		{"other proxy trusted", func(t *testing.T, s *site) { s.settings = "trusted_proxies: [10.0.0.0/8]" },
			"proxy", doctor.Fail, "not in trusted_proxies"},
		{"proxy does not say for whom", func(t *testing.T, s *site) {
			s.request = func(r *http.Request) { r.Header.Del("X-Forwarded-For") }
		}, "proxy", doctor.Fail, "without X-Forwarded-For"},
		{"proxy hides for whom", func(t *testing.T, s *site) {
			s.request = func(r *http.Request) { r.Header.Set("X-Forwarded-For", "unknown") }
		}, "proxy", doctor.Fail, "cannot be read"},
		{"proxy says _hidden in Forwarded", func(t *testing.T, s *site) {
			s.request = func(r *http.Request) { r.Header.Del("X-Forwarded-For"); r.Header.Set("Forwarded", "for=_hidden") }
		}, "proxy", doctor.Fail, "cannot be read"},
		{"clock ahead", func(t *testing.T, s *site) { s.answer = shifted(10 * time.Minute) }, "clock", doctor.Fail, "10m0s ahead of"},
		{"clock behind", func(t *testing.T, s *site) { s.answer = shifted(-10 * time.Minute) }, "clock", doctor.Fail, "behind"},
		{"clock a little off", func(t *testing.T, s *site) { s.answer = shifted(30 * time.Second) }, "clock", doctor.Warn, "ahead of"},
		{"address not allowed", func(t *testing.T, s *site) {
			s.adjust = func(c *config.Config) { c.Issuer = "https://10.255.255.1" }
		}, "front door", doctor.Unknown, "was not asked"},
		{"nobody there", func(t *testing.T, s *site) {
			s.adjust = func(c *config.Config) { c.Outbound.DevHosts = map[string]string{host: "127.0.0.1:1"} }
		}, "front door", doctor.Fail, "no server answers"},
		{"no TLS there", func(t *testing.T, s *site) {
			s.adjust = func(c *config.Config) {
				c.Outbound.DevHosts = map[string]string{host: strings.TrimPrefix(s.upstream, "http://")}
			}
		}, "tls", doctor.Fail, "speaks no TLS"},
		{"plain http", func(t *testing.T, s *site) {
			s.adjust = func(c *config.Config) {
				c.Issuer, c.Outbound.DevHosts = "http://"+host, map[string]string{host: strings.TrimPrefix(s.upstream, "http://")}
			}
		}, "front door", doctor.Fail, "answers 404"}, // the provider has no OAuth metadata
		{"name without address", func(t *testing.T, s *site) {
			s.adjust = func(c *config.Config) { c.Issuer = "https://" + strings.Repeat("a", 64) + ".example.com" }
		}, "dns", doctor.Fail, "has no address"},
		{"not ready", func(t *testing.T, s *site) {
			s.handler = only("/readyz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
		}, "front door", doctor.Fail, "not ready"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			test.breaks(t, s)
			found := s.examine(t)
			found.want(t, test.check, test.status, test.words)
			found.wantNone(t, []string{test.check}, doctor.Fail)
		})
	}
}

func shifted(by time.Duration) func(*http.Response) error {
	return func(r *http.Response) error {
		r.Header.Set("Date", time.Now().Add(by).UTC().Format(http.TimeFormat))
		return nil
	}
}

// Without a running issuer, many checks cannot be made. That is unknown, not a failure.
func TestNotRunning(t *testing.T) {
	s := newSite(t)
	s.idle = true
	found := s.examine(t)
	found.want(t, "admin", doctor.Unknown, "no issuer answers")
	found.want(t, "front door", doctor.Unknown, "answers 502")
	found.want(t, "data", doctor.Warn, "the first start creates it")
	found.wantNone(t, nil, doctor.Fail)
}

// Faults of an OpenID provider.
func TestProvider(t *testing.T) {
	const discovery = "/.well-known/openid-configuration"
	drop := func(member string) func(http.Handler) http.Handler {
		return rewritten(discovery, func(doc map[string]any) { delete(doc, member) })
	}
	put := func(member string, value any) func(http.Handler) http.Handler {
		return rewritten(discovery, func(doc map[string]any) { doc[member] = value })
	}
	for _, test := range []struct {
		name   string
		breaks func(t *testing.T, s *site)
		status doctor.Status
		words  string
	}{
		{"down", func(t *testing.T, s *site) { s.down = true }, doctor.Fail, "cannot be asked"},
		{"failing", func(t *testing.T, s *site) {
			s.idp = func(http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
			}
		}, doctor.Fail, "answers 500"},
		{"no metadata", func(t *testing.T, s *site) { s.idp = func(http.Handler) http.Handler { return http.NotFoundHandler() } },
			doctor.Fail, "answers 404"},
		{"another issuer", func(t *testing.T, s *site) { s.idp = put("issuer", "https://other.example.com") }, doctor.Fail, "calls itself"},
		{"no codes", func(t *testing.T, s *site) { s.idp = put("response_types_supported", []string{"id_token"}) }, doctor.Fail, "response type code"},
		{"no keys", func(t *testing.T, s *site) { s.idp = drop("jwks_uri") }, doctor.Fail, "cannot be used"},
		{"no algorithm of ours", func(t *testing.T, s *site) { s.idp = put("id_token_signing_alg_values_supported", []string{"HS256"}) },
			doctor.Fail, "cannot be used"},
		{"no PKCE", func(t *testing.T, s *site) { s.idp = drop("code_challenge_methods_supported") }, doctor.Warn, "PKCE"},
		{"plain PKCE", func(t *testing.T, s *site) { s.idp = put("code_challenge_methods_supported", []string{"plain"}) }, doctor.Warn, "PKCE"},
		{"no profile", func(t *testing.T, s *site) { s.idp = put("scopes_supported", []string{"openid"}) }, doctor.Warn, "scope profile"},
		{"no handle", func(t *testing.T, s *site) { s.idp = put("claims_supported", []string{"sub"}) }, doctor.Warn, "claim preferred_username"},
		{"wrong secret", func(t *testing.T, s *site) {
			s.client.Secret, s.idp = "right", knowing("issuer", "right")
			secret(t, s, "wrong")
		}, doctor.Fail, "does not accept the credentials of client issuer"},
		{"right secret", func(t *testing.T, s *site) {
			s.client.Secret, s.idp = "right", knowing("issuer", "right")
			secret(t, s, "right")
		}, doctor.OK, "can be used"},
		{"unknown client", func(t *testing.T, s *site) {
			s.client.Secret, s.idp = "right", knowing("another", "right")
			secret(t, s, "right")
		}, doctor.Fail, "does not accept the credentials of client issuer"},
		{"address not allowed", func(t *testing.T, s *site) {
			s.adjust = func(c *config.Config) { c.Outbound.AllowNetworks = nil }
		}, doctor.Fail, "not a public address"},
		{"clock", func(t *testing.T, s *site) {
			s.idp = func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Date", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
					next.ServeHTTP(w, r)
				})
			}
		}, doctor.Fail, "ahead of"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			test.breaks(t, s)
			found, check := s.examine(t), "provider corp"
			if test.name == "clock" {
				check = "clock"
			}
			found.want(t, check, test.status, test.words)
			found.wantNone(t, []string{check}, doctor.Fail)
			for _, f := range found {
				if strings.Contains(f.Text+f.Remedy, "right") && s.client.Secret != "" || strings.Contains(f.Text+f.Remedy, "wrong") {
					t.Errorf("%s: %s -> %s tells the secret", f.Check, f.Text, f.Remedy)
				}
			}
		})
	}
}

// knowing makes a provider authenticate the client before it checks the code, as most do.
func knowing(client, secret string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			id, password, _ := r.BasicAuth()
			if r.Method == http.MethodPost && (id != client || password != secret) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusUnauthorized)
				_, _ = io.WriteString(w, `{"error":"invalid_client"}`)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// secret gives the issuer a secret at the provider.
func secret(t *testing.T, s *site, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.folder, "corp"), []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.provider = ", client_secret_file: corp"
}

// Faults of files and folders.
func TestFiles(t *testing.T) {
	change := func(t *testing.T, path string, mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name   string
		breaks func(t *testing.T, c *config.Config)
		check  string
		status doctor.Status
		words  string
	}{
		{"database", func(t *testing.T, c *config.Config) { change(t, c.Database(), 0o644) }, "files", doctor.Fail, "every user can open "},
		{"log of the database", func(t *testing.T, c *config.Config) { change(t, c.Database()+"-wal", 0o644) }, "files", doctor.Fail, "issuer.db-wal (mode 0644)"},
		{"index of the log", func(t *testing.T, c *config.Config) { change(t, c.Database()+"-shm", 0o604) }, "files", doctor.Fail, "issuer.db-shm (mode 0604)"},
		{"settings", func(t *testing.T, c *config.Config) { change(t, c.File(), 0o646) }, "files", doctor.Fail, "issuer.yaml (mode 0646)"},
		{"settings that all may read", func(t *testing.T, c *config.Config) { change(t, c.File(), 0o644) }, "files", doctor.OK, ""},
		{"folder of the settings", func(t *testing.T, c *config.Config) { change(t, filepath.Dir(c.File()), 0o777) },
			"files", doctor.Fail, "every user can replace files in"},
		{"certificate authorities", func(t *testing.T, c *config.Config) { change(t, c.Outbound.CAFile, 0o646) }, "files", doctor.Fail, "ca.pem (mode 0646)"},
		{"keys of a peer", func(t *testing.T, c *config.Config) {
			c.Peers = []config.Peer{{JWKSFile: filepath.Join(c.Data, "peer.json")}, {JWKSFile: filepath.Join(c.Data, "peer.json")}}
			if err := os.WriteFile(c.Peers[0].JWKSFile, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			change(t, c.Peers[0].JWKSFile, 0o622)
		}, "files", doctor.Fail, "peer.json (mode 0622)"},
		{"admin socket", func(t *testing.T, c *config.Config) { change(t, c.AdminSocket(), 0o666) }, "files", doctor.Fail, "every user can open "},
		{"folder", func(t *testing.T, c *config.Config) { change(t, c.Data, 0o777) }, "files", doctor.Fail, "every user can replace files in"},
		{"key-encryption key", func(t *testing.T, c *config.Config) { change(t, c.KEKFile, 0o644) }, "files", doctor.Fail, "open to every user"},
		{"no key in it", func(t *testing.T, c *config.Config) {
			if err := os.WriteFile(c.KEKFile, []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "files", doctor.Fail, "does not hold 32 bytes"},
		{"folder that cannot be written", func(t *testing.T, c *config.Config) { c.Storage = "sqlite:/proc/issuer.db" },
			"data", doctor.Fail, "cannot be written to"},
		{"no folder", func(t *testing.T, c *config.Config) { c.Storage = "sqlite:" + c.KEKFile + "/issuer.db" }, "data", doctor.Fail, ""},
		{"disk in memory", func(t *testing.T, c *config.Config) { c.Storage = "sqlite:/dev/shm/issuer.db" }, "data", doctor.Warn, "tmpfs"},
		{"certificate of another name", func(t *testing.T, c *config.Config) {
			ca := newAuthority(t)
			c.TLS.CertFile = filepath.Join(c.Data, "cert.pem")
			if err := os.WriteFile(c.TLS.CertFile, ca.pem(), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "tls", doctor.Fail, "cert.pem"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t)
			s.adjust = func(c *config.Config) { test.breaks(t, c) }
			found := s.examine(t)
			found.want(t, test.check, test.status, test.words)
			found.wantNone(t, []string{test.check}, doctor.Fail)
		})
	}
	t.Run("certificate", func(t *testing.T) {
		s := newSite(t)
		s.adjust = func(c *config.Config) { // one with another name, which another check covers
			c.TLS.CertFile = filepath.Join(c.Data, "cert.pem")
			if err := os.WriteFile(c.TLS.CertFile, newAuthority(t).pem(), 0o600); err != nil {
				t.Fatal(err)
			}
			change(t, c.TLS.CertFile, 0o602)
		}
		s.examine(t).want(t, "files", doctor.Fail, "cert.pem (mode 0602)")
	})
	t.Run("owner", func(t *testing.T) {
		s := newSite(t)
		s.adjust = func(c *config.Config) {
			c.RedisURLFile = "/etc/shadow" // only root and its group can read it
			if os.Geteuid() == 0 {
				if err := os.Chown(c.Data, 12345, 12345); err != nil {
					t.Fatal(err)
				}
			}
		}
		s.examine(t).want(t, "files", doctor.Warn, "/etc/shadow cannot be read by user ")
	})
}

// Faults of the server that stores spent proofs.
func TestReplay(t *testing.T) {
	for _, test := range []struct {
		policy string // of the server; if empty, there is no server
		status doctor.Status
		words  string
	}{
		{"noeviction", doctor.OK, "evicts nothing"},
		{"allkeys-lru", doctor.Fail, "maxmemory-policy is allkeys-lru"},
		{"", doctor.Fail, "does not work"},
	} {
		t.Run(test.policy, func(t *testing.T) {
			s := newSite(t)
			socket := filepath.Join(s.folder, "redis")
			if test.policy != "" {
				redis := exec.Command("redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--dir", s.folder, "--maxmemory-policy", test.policy)
				if err := redis.Start(); err != nil {
					t.Fatalf("%v: `make setup` installs redis-server", err)
				}
				t.Cleanup(func() {
					_ = redis.Process.Kill()
					_ = redis.Wait()
				})
				for c, err := net.Dial("unix", socket); ; c, err = net.Dial("unix", socket) {
					if err == nil {
						c.Close()
						break
					}
					time.Sleep(10 * time.Millisecond)
				}
			}
			s.adjust = func(c *config.Config) {
				c.Replay, c.RedisURL = "redis", config.Secret("unix://:s3cret-of-redis@"+socket)
				if test.policy != "" {
					c.RedisURL = config.Secret("unix://" + socket)
				}
			}
			found := s.examine(t)
			found.want(t, "replay", test.status, test.words)
			if strings.Contains(found.String(), "s3cret") {
				t.Errorf("the password is shown: %s", found)
			}
		})
	}
}

// The doctor changes nothing: the folder has the same files as before.
func TestChangesNothing(t *testing.T) {
	s := newSite(t)
	var before string
	s.adjust = func(*config.Config) { before = listing(t, s.folder) }
	s.examine(t)
	if after := listing(t, s.folder); after != before {
		t.Errorf("the folder held\n%s\nand holds\n%s", before, after)
	}
}

func listing(t *testing.T, folder string) string {
	t.Helper()
	var b bytes.Buffer
	err := filepath.Walk(folder, func(path string, info os.FileInfo, err error) error {
		if err == nil {
			b.WriteString(path + " " + info.Mode().String() + " " + strconv.FormatBool(info.IsDir()) + "\n")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
