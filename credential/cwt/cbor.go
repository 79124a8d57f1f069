package cwt

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"
)

const (
	// maxDepth is how deeply maps and arrays may be nested (draft-ietf-spice-sd-cwt-07 §6.5). Those of this service have six levels.
	maxDepth = 16
	// maxMembers is how many members a map or array may have. Names are compared with all known ones, so many would cost much.
	maxMembers = 256
	// maxLabel is the length of the longest text that is a key of a map, in bytes (draft-ietf-spice-sd-cwt-07 §6.3).
	maxLabel = 255
	// redacted is the key of the digests of hidden claims (draft-ietf-spice-sd-cwt-07 §5.1).
	redacted = cbor.SimpleValue(59)
)

// The errors do not contain anything of the message.
var (
	errTruncated  = errors.New("ends too early")
	errExtra      = errors.New("there are bytes after its end")
	errTwice      = errors.New("a map contains the same key twice")
	errIndefinite = errors.New("a length is indefinite")
	errTag        = errors.New("it contains a tag")
	errDeep       = fmt.Errorf("nested more than %d levels deep", maxDepth)
	errMany       = fmt.Errorf("a map or an array has more than %d members", maxMembers)
	errKey        = fmt.Errorf("a map has a key that is neither a number nor a text of 1 to %d bytes", maxLabel)
	errRedacted   = errors.New("hidden claims are not supported")
	errOrder      = errors.New("not in deterministic encoding: keys are not sorted, or something is longer than it must be")
	errCBOR       = errors.New("not well-formed CBOR")
)

// encoding writes core deterministic CBOR (RFC 8949 §4.2.1).
var encoding = must(cbor.CoreDetEncOptions().EncMode())

// decoding reads CBOR without tags and embedding CBOR that may contain tags. Both refuse indefinite lengths and repeated keys.
var (
	decoding  = must(options(cbor.TagsForbidden).DecMode())
	embedding = must(options(cbor.TagsAllowed).DecMode())
)

func options(tags cbor.TagsMode) cbor.DecOptions {
	return cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: tags, MaxNestedLevels: maxDepth,
		MaxMapPairs: maxMembers, MaxArrayElements: maxMembers,
	}
}

// must returns a mode. Its options are constants, so there is no error.
func must[T any](mode T, err error) T {
	if err != nil {
		panic(err)
	}
	return mode
}

// item reads a whole text of one data item without tags, which must be in deterministic encoding. Keys of maps are uint64, int64 or
// string. Values are, besides, bool, nil, float64, []byte, []any, map[any]any and cbor.SimpleValue.
func item(data []byte) (any, error) {
	var v any
	if err := decoding.Unmarshal(data, &v); err != nil {
		return nil, fault(err)
	}
	if err := checkKeys(v); err != nil {
		return nil, err
	}
	return v, canonical(data, v)
}

// canonical returns an error if data is not the deterministic encoding of v.
func canonical(data []byte, v any) error {
	again, err := encoding.Marshal(v)
	if err != nil {
		return errCBOR
	}
	if !bytes.Equal(again, data) {
		return errOrder
	}
	return nil
}

// checkKeys checks the keys of all maps in v.
func checkKeys(v any) error {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if err := checkKeys(e); err != nil {
				return err
			}
		}
	case map[any]any:
		for key, e := range v {
			if err := checkKey(key); err != nil {
				return err
			}
			if err := checkKeys(e); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkKey(key any) error {
	switch key := key.(type) {
	case uint64, int64:
		return nil
	case string:
		if key != "" && len(key) <= maxLabel {
			return nil
		}
	case cbor.SimpleValue:
		if key == redacted {
			return errRedacted
		}
	}
	return errKey
}

// fault returns an error of the library in words of this package: those of the library contain keys.
func fault(err error) error {
	var (
		twice      *cbor.DupMapKeyError
		indefinite *cbor.IndefiniteLengthError
		tag        *cbor.TagsMdError
		deep       *cbor.MaxNestedLevelError
		pairs      *cbor.MaxMapPairsError
		elements   *cbor.MaxArrayElementsError
		extra      *cbor.ExtraneousDataError
		key        *cbor.InvalidMapKeyTypeError
		other      *cbor.UnmarshalTypeError
	)
	switch {
	case errors.As(err, &twice):
		return errTwice
	case errors.As(err, &indefinite):
		return errIndefinite
	case errors.As(err, &tag):
		return errTag
	case errors.As(err, &deep):
		return errDeep
	case errors.As(err, &pairs), errors.As(err, &elements):
		return errMany
	case errors.As(err, &extra):
		return errExtra
	case errors.As(err, &key):
		return errKey
	case errors.As(err, &other): // only maps are read into a type of their own
		return errMap
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errTruncated
	}
	return errCBOR
}
