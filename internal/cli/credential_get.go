package cli

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/sdjwt"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/internal/jose"
)

// credentialScope is the scope of tokens that get credentials.
const credentialScope = "im:credential"

type credentialGetCmd struct {
	kept
	Key           string `placeholder:"FILE" help:"Private key that the credential is bound to, PEM (PKCS #8 or EC), instead of the device's own. If it does not exist, it is created with a new P-256 key."`
	Count         int    `default:"1" placeholder:"N" help:"Get several credentials, each with a key of its own: --key a.pem names a-1.pem, a-2.pem and so on, and --to likewise."`
	To            string `placeholder:"FILE" help:"Write the credential to this file, of mode 0600, and replace an earlier one. Without it, the credential is printed."`
	Configuration string `default:"im-device" placeholder:"ID" help:"The kind of credential (${default}), as the metadata of the issuer lists them."`
	JSON          bool   `name:"json" help:"Print JSON."`
}

func (*credentialGetCmd) Help() string {
	return `A credential says for weeks that a key is that of a device of a user. It needs a session with the scope im:credential:

    issuer login --scope "im:handle im:device im:credential"
    issuer credential get --to credential.txt
    issuer credential get --key mls.pem --to mls.txt
    issuer credential get --key mls.pem --count 3 --to mls.txt
    issuer credential get --configuration im-device-cwt --to credential.cwt

A CWT is written in base64url, as the other commands read it.

Certificates are written as a chain in PEM:

    issuer credential get --configuration im-device-x5c --key mls.pem --to mls-chain.pem

JSON is an array of {"id", "credential", "file", "key", "device", "expires_at"}; key is the file of the key, and absent for the
device's own. The exit code is 1 if the issuer refuses, and 3 if it cannot be reached.`
}

func (c *credentialGetCmd) Run(ctx context.Context, s *streams) error {
	switch {
	case c.Count < 1:
		return usage("--count must be at least 1")
	case c.Count > 1 && c.Key == "":
		return usage("--count %d needs --key FILE: each credential has a key of its own", c.Count)
	}
	if c.To != "" { // before the issuer gives a credential that could not be stored
		if _, err := os.Stat(filepath.Dir(c.To)); err != nil {
			return usage("--to: %w", err)
		}
	}
	path, err := c.file()
	if err != nil {
		return err
	}
	session, err := client.ReadSession(path)
	if err != nil {
		return noSession(ctx, path, err)
	}
	if scopes := strings.Fields(session.Scope); len(scopes) > 0 && !slices.Contains(scopes, credentialScope) {
		return c.noScope(session)
	}
	meta, kind, err := credentialsOf(ctx, session.Issuer, c.Configuration)
	switch most := max(1, meta.Batch.Size); {
	case err != nil:
		return err
	case readers[kind.Format] == nil:
		return usage("this command gets credentials of the formats %s, %s and %s, and %s is %s",
			credential.SDJWT, credential.SDCWT, credential.X509, c.Configuration, printable(kind.Format))
	case c.Count > most:
		return usage("the issuer gives at most %s at a time", count(most, "credential"))
	}
	keys, err := c.keys(session)
	if err != nil {
		return err
	}
	if err := checkKeys(keys, kind); err != nil {
		return err
	}
	app, token, err := issuerToken(ctx, path, credentialScope, c.noScope)
	if err != nil {
		return err
	}
	request := client.CredentialRequest{Configuration: c.Configuration, AccessToken: token}
	for _, key := range keys {
		request.Keys = append(request.Keys, key.prover)
	}
	list, err := app.Credentials(ctx, meta, request)
	if err != nil {
		return answered(session.Issuer, err)
	}
	got, err := match(list, keys, readers[kind.Format])
	if err != nil {
		return refused("the issuer's answer is not usable: %w", err)
	}
	return c.print(s, got)
}

// noScope says how to get a session that may get credentials.
func (c *credentialGetCmd) noScope(session client.Session) error {
	again := ""
	if c.Session != "" {
		again = " --session " + c.Session
	}
	return refused("the session may not get credentials: log in again with issuer login%s --scope %q", again,
		strings.Join(append(strings.Fields(session.Scope), credentialScope), " "))
}

// A credentialKey is the key of a credential.
type credentialKey struct {
	file   string // empty for the device's own
	signer crypto.Signer
	prover *dpop.Signer
}

// keys returns the keys of the credentials.
func (c *credentialGetCmd) keys(session client.Session) ([]credentialKey, error) {
	var list []credentialKey
	for i := range c.Count {
		key := credentialKey{file: c.numbered(c.Key, i)}
		var err error
		if key.file == "" {
			key.signer, err = session.PrivateKey()
		} else if key.signer, err = readKey(key.file); errors.Is(err, fs.ErrNotExist) {
			key.signer, err = makeKey(key.file)
		}
		if err == nil {
			key.prover, err = dpop.NewSigner(key.signer, "")
		}
		if err != nil {
			return nil, usage("%w", err)
		}
		list = append(list, key)
	}
	return list, nil
}

// checkKeys refuses keys whose algorithm the issuer does not accept.
func checkKeys(keys []credentialKey, kind client.CredentialConfiguration) error {
	good := kind.ProofTypes["jwt"].Algorithms
	for _, key := range keys {
		if alg := jose.AlgorithmFor(key.signer.Public()); !slices.Contains(good, alg) {
			return usage("%s is a key for %s; the issuer accepts keys for %s", key.name(), alg, printable(strings.Join(good, ", ")))
		}
	}
	return nil
}

func (k credentialKey) name() string {
	if k.file == "" {
		return "the key of the session"
	}
	return k.file
}

// numbered returns the name of the file number i of several: a-1.pem for a.pem.
func (c *credentialGetCmd) numbered(name string, i int) string {
	if c.Count == 1 || name == "" {
		return name
	}
	extension := filepath.Ext(name)
	return fmt.Sprintf("%s-%d%s", strings.TrimSuffix(name, extension), i+1, extension)
}

// A gotCredential is a credential with its key.
type gotCredential struct {
	ID         string    `json:"id"`
	Credential string    `json:"credential"`
	File       string    `json:"file,omitempty"`
	Key        string    `json:"key,omitempty"`
	Device     string    `json:"device"`
	ExpiresAt  time.Time `json:"expires_at"`
}

// readers read a credential of an answer, and the key that it is bound to, by its format.
var readers = map[string]func(text string) (gotCredential, crypto.PublicKey, error){
	string(credential.SDJWT): readSDJWT, string(credential.SDCWT): readSDCWT, string(credential.X509): readX5C,
}

func readSDJWT(text string) (one gotCredential, key crypto.PublicKey, err error) {
	token, err := sdjwt.Parse(text)
	if err != nil {
		return one, nil, err
	}
	if key, err = token.Key(); err != nil {
		return one, nil, err
	}
	one.Credential = text
	err = jose.ReadMembers(token.Claims(),
		jose.Member{Name: "jti", Text: &one.ID, Required: true},
		jose.Member{Name: "sub", Text: &one.Device, Required: true},
		jose.Member{Name: "exp", Date: &one.ExpiresAt, Required: true})
	return one, key, err
}

// match returns the credentials in the order of their keys. Each must be bound to another one.
func match(
	list []string, keys []credentialKey, read func(text string) (gotCredential, crypto.PublicKey, error),
) ([]gotCredential, error) {
	got := make([]gotCredential, len(keys))
	for _, text := range list {
		one, key, err := read(text)
		if err != nil {
			return nil, err
		}
		jkt, err := jose.Thumbprint(key)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(keys, func(k credentialKey) bool { return k.prover.JKT() == jkt })
		if i < 0 || got[i].Credential != "" {
			return nil, errors.New("a credential is bound to another key than the one that was proved")
		}
		one.Key, one.ExpiresAt = keys[i].file, one.ExpiresAt.UTC()
		got[i] = one
	}
	return got, nil
}

// print writes the credentials to their files, or prints them.
func (c *credentialGetCmd) print(s *streams, got []gotCredential) error {
	for i := range got {
		if c.To == "" {
			continue
		}
		got[i].File = c.numbered(c.To, i)
		if err := writePrivate(got[i].File, strings.TrimSuffix(got[i].Credential, "\n")+"\n"); err != nil {
			return usage("--to: %w", err)
		}
	}
	if c.JSON {
		return printJSON(s, got)
	}
	for _, one := range got {
		if c.To == "" {
			fmt.Fprintln(s.out, strings.TrimSuffix(one.Credential, "\n"))
			continue
		}
		fmt.Fprintf(s.out, "%s is a credential of %s until %s.\n", one.File, printable(one.Device), one.ExpiresAt.Format(time.RFC3339))
	}
	return nil
}

// writePrivate writes a file that only the user can read, and replaces an earlier one as a whole.
func writePrivate(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".credential-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
