package cwt

import (
	"crypto"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/veraison/go-cose"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/internal/jose"
)

// Names of the claims of an access token that have no number.
const (
	nameHandle   = "handle"
	nameDevice   = "device"
	nameClientID = "client_id"
	nameAuthTime = "auth_time"
	nameACR      = "acr"
	nameAMR      = "amr"
	nameSID      = "sid"
	nameGen      = "gen"
	nameJKT      = "jkt"
	nameActor    = "act"
	nameMayAct   = "may_act"
	nameHomeIss  = "home_iss"
	nameTokens   = "tokens"

	nameStatusList = "status_list"
	nameIndex      = "idx"
	nameURI        = "uri"
)

var (
	accessNames = []string{
		nameHandle, nameDevice, nameClientID, nameAuthTime, nameACR, nameAMR, nameSID, nameGen, nameJKT, nameActor, nameMayAct,
		nameHomeIss, nameTokens,
	}
	actorNames  = []string{nameClientID, nameSID, nameActor}
	listNames   = []string{nameIndex, nameURI}
	statusNames = []string{nameStatusList}
)

// An AccessToken is an access token in the form of a CWT. Its issuer is unknown until [AccessToken.Verify] has returned nil.
type AccessToken struct {
	set claims.Set
	ckt []byte
	msg *message
}

// SignAccessToken returns the twin of the JWT that set is the payload of: a CWT with the same claims.
//
// The key is that of the token's proofs, whose RFC 7638 thumbprint is set.JKT; the CWT names it by its RFC 9679 thumbprint, too. It is
// nil if JKT is empty. The error is about a key that is not that of the set, a set that [ParseAccessToken] would refuse, such as one
// with ill-formed text, or comes from s.
func SignAccessToken(set claims.Set, key crypto.PublicKey, s *Signer) ([]byte, error) {
	var ckt []byte
	if set.JKT != "" || key != nil {
		if jkt, err := jose.Thumbprint(key); err != nil || jkt != set.JKT {
			return nil, errors.New("cwt: make an access token: the key is not the one of the claims")
		}
		var err error
		if ckt, err = Thumbprint(key); err != nil {
			return nil, err
		}
	}
	payload, err := encodeSet(&set, ckt)
	if err == nil {
		_, _, err = readSet(payload)
	}
	if err != nil {
		return nil, fmt.Errorf("cwt: make an access token: %w", err)
	}
	return sign(s.cose, kindAccess, cose.ProtectedHeader{headerKid: []byte(s.kid)}, payload)
}

// A payload is a map that is written. Zero values are left out.
type payload map[any]any

func (p payload) text(label any, s string) {
	if s != "" {
		p[label] = s
	}
}

func (p payload) time(label any, t time.Time) {
	if !t.IsZero() {
		p[label] = t.Unix()
	}
}

func (p payload) actor(label any, a *claims.Actor) {
	if a == nil {
		return
	}
	// RFC 8693 §4.1: the members of an actor are claims.
	act := payload{}
	act.text(labelIss, a.Issuer)
	act.text(labelSub, a.Subject)
	act.text(nameClientID, a.ClientID)
	act.text(nameSID, a.SID)
	act.actor(nameActor, a.Actor)
	p[label] = act
}

// status writes a place in a status list (draft-ietf-oauth-status-list-20 §6.3).
func (p payload) status(index uint64, uri string) {
	p[labelStatus] = payload{nameStatusList: payload{nameIndex: index, nameURI: uri}}
}

func encodeSet(set *claims.Set, ckt []byte) ([]byte, error) {
	p := payload{}
	p.text(labelIss, set.Issuer)
	p.text(labelSub, set.Subject)
	p.text(nameHandle, set.Handle)
	p.text(nameDevice, set.Device)
	switch len(set.Audience) {
	case 0:
	case 1:
		p[labelAud] = set.Audience[0]
	default:
		p[labelAud] = set.Audience
	}
	p.text(nameClientID, set.ClientID)
	p.text(labelScope, set.Scope)
	if set.JTI != "" {
		p[labelCti] = []byte(set.JTI)
	}
	p.time(labelIat, set.IssuedAt)
	p.time(labelNbf, set.NotBefore)
	p.time(labelExp, set.Expires)
	p.time(nameAuthTime, set.AuthTime)
	p.text(nameACR, set.ACR)
	if len(set.AMR) > 0 {
		p[nameAMR] = set.AMR
	}
	p.text(nameSID, set.SID)
	if set.Gen != 0 {
		p[nameGen] = set.Gen
	}
	if set.JKT != "" {
		jkt, err := jose.DecodeBase64(set.JKT)
		if err != nil {
			return nil, err
		}
		p[labelCnf], p[nameJKT] = payload{confirmThumbprint: ckt}, jkt
	}
	p.actor(nameActor, set.Actor)
	p.actor(nameMayAct, set.MayAct)
	p.text(nameHomeIss, set.HomeIss)
	p.text(nameTokens, string(set.Tokens))
	if set.Status != nil {
		p.status(set.Status.Index, set.Status.URI)
	}
	return encoding.Marshal(p)
}

// ParseAccessToken reads an access token. It verifies no signature and checks no time. The error is a [*credential.Error] with
// [credential.CodeMalformed], CodeTooLarge, CodeType, CodeAlgorithm, CodeDisclosure or CodeClaim.
//
// It refuses what the JWT must not have either, see [claims.ParseSet]: claims of the wrong type, empty ones, times that are not seconds
// since 1970, and names that differ from known ones only in case. Unknown claims are ignored.
func ParseAccessToken(data []byte) (*AccessToken, error) {
	m, err := readMessage(data, kindAccess)
	if err != nil {
		return nil, err
	}
	set, ckt, err := readSet(m.payload)
	if err != nil {
		return nil, err
	}
	return &AccessToken{set, ckt, m}, nil
}

// Set returns the claims. They count only after [AccessToken.Verify]; [claims.Set.Validate] checks their values.
func (t *AccessToken) Set() claims.Set { return t.set }

// KID returns the name of the key that the token claims to be signed with.
func (t *AccessToken) KID() string { return t.msg.kid }

// Thumbprint returns the RFC 9679 thumbprint of the key that the token is bound to, nil if it is bound to none.
func (t *AccessToken) Thumbprint() []byte { return slices.Clone(t.ckt) }

// Verify verifies the signature with a key of the issuer and its algorithm, by its name in JOSE. The error is a [*credential.Error] with
// [credential.CodeAlgorithm] or [credential.CodeSignature].
func (t *AccessToken) Verify(alg string, key crypto.PublicKey) error { return t.msg.verify(alg, key) }

// BoundTo reports whether the token is bound to a key: that of a proof. The key has both thumbprints that the token names.
func (t *AccessToken) BoundTo(key crypto.PublicKey) bool {
	ckt, err := Thumbprint(key)
	if err != nil || subtle.ConstantTimeCompare(ckt, t.ckt) != 1 {
		return false
	}
	jkt, err := jose.Thumbprint(key)
	return err == nil && jkt == t.set.JKT
}

// readClaims reads a payload, which must be a map.
func readClaims(data []byte) (*object, error) {
	v, err := item(data)
	if err != nil {
		return nil, malformed("payload", err)
	}
	items, ok := v.(map[any]any)
	if !ok {
		return nil, malformed("payload", errMap)
	}
	return &object{items: items, code: credential.CodeClaim}, nil
}

func readSet(data []byte) (claims.Set, []byte, error) {
	o, err := readClaims(data)
	if err != nil {
		return claims.Set{}, nil, err
	}
	set := claims.Set{
		Issuer: o.text(labelIss, "iss"), Subject: o.text(labelSub, "sub"), Handle: o.text(nameHandle, nameHandle),
		Device: o.text(nameDevice, nameDevice), Audience: o.audience(labelAud, "aud"), ClientID: o.text(nameClientID, nameClientID),
		Scope: o.text(labelScope, "scope"), JTI: o.id(labelCti, "cti"), IssuedAt: o.time(labelIat, "iat"),
		NotBefore: o.time(labelNbf, "nbf"), Expires: o.time(labelExp, "exp"), AuthTime: o.time(nameAuthTime, nameAuthTime),
		ACR: o.text(nameACR, nameACR), AMR: o.texts(nameAMR, nameAMR), SID: o.text(nameSID, nameSID), Gen: o.whole(nameGen, nameGen),
		Actor: o.actor(nameActor), MayAct: o.actor(nameMayAct), HomeIss: o.text(nameHomeIss, nameHomeIss), Tokens: o.tokens(),
	}
	if index, uri, ok := o.status(); ok {
		set.Status = &claims.Status{Index: index, URI: uri}
	}
	ckt := o.thumbprint()
	jkt := o.bytes(nameJKT, nameJKT)
	if len(jkt) != len(ckt) {
		o.fail(nameJKT, errors.New("it and cnf are the thumbprints of one key: both are there, or none"))
	}
	set.JKT = base64.RawURLEncoding.EncodeToString(jkt)
	o.onlyNames(accessNames)
	if o.err != nil {
		return claims.Set{}, nil, o.err
	}
	return set, ckt, nil
}

// thumbprint reads a cnf of one method, which is ckt (RFC 8747 §3.1, RFC 9679 §5.6).
func (o *object) thumbprint() []byte {
	cnf := o.object(labelCnf, "cnf")
	if cnf == nil {
		return nil
	}
	ckt := cnf.bytes(confirmThumbprint, "ckt")
	if len(cnf.items) != 1 || len(ckt) != 32 {
		o.fail("cnf", errors.New("not a SHA-256 thumbprint (ckt) alone"))
	}
	return ckt
}

// status reads a place in a status list. Other status mechanisms beside it are ignored.
func (o *object) status() (index uint64, uri string, ok bool) {
	status := o.object(labelStatus, "status")
	if status == nil {
		return 0, "", false
	}
	status.require(nameStatusList, nameStatusList)
	status.onlyNames(statusNames)
	if list := status.object(nameStatusList, nameStatusList); list != nil {
		list.require(nameURI, nameURI)
		uri = list.text(nameURI, nameURI)
		if index, ok = list.items[nameIndex].(uint64); !ok {
			list.fail(nameIndex, errWhole)
		}
		list.onlyNames(listNames)
		status.done(list)
	}
	o.done(status)
	return index, uri, true
}

func (o *object) actor(name string) *claims.Actor {
	act := o.object(name, name)
	if act == nil {
		return nil
	}
	a := &claims.Actor{
		Subject: act.text(labelSub, "sub"), Issuer: act.text(labelIss, "iss"), ClientID: act.text(nameClientID, nameClientID),
		SID: act.text(nameSID, nameSID), Actor: act.actor(nameActor),
	}
	act.onlyNames(actorNames)
	o.done(act)
	return a
}

// tokens reads the array of nested tokens. They are JSON: their parts are JWTs, and package nested reads them.
func (o *object) tokens() json.RawMessage {
	text := o.text(nameTokens, nameTokens)
	if text == "" {
		return nil
	}
	err := jose.Object([]byte(`{"tokens":`+text+`}`), func(name string, value []byte) error {
		if string(value) != text || text[0] != '[' {
			return errors.New("not a JSON array")
		}
		return nil
	})
	if err != nil {
		o.fail(nameTokens, err)
	}
	return json.RawMessage(text)
}
