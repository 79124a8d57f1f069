package claims

import "strconv"

// A Code says why a text is not an identifier, or why an identifier is not accepted. It is an error itself, so that
// callers can branch with errors.Is(err, claims.CodeNotCanonical). Its value is a stable lower-case word.
type Code string

// Error returns the code's word.
func (c Code) Error() string { return string(c) }

// Description returns a description of the code for people, such as "a character is not allowed here".
func (c Code) Description() string {
	if s, ok := descriptions[c]; ok {
		return s
	}
	return "the identifier is not valid"
}

var descriptions = map[Code]string{
	CodeEmptyPart:           "this part is empty",
	CodeMissingDomain:       "the domain is missing",
	CodeMissingLocal:        "the part before the domain is missing",
	CodeMissingDevice:       "the device part is missing",
	CodeNotUTF8:             "the text is not valid UTF-8",
	CodeControlChar:         "control characters are not allowed",
	CodeDisallowedChar:      "a character is not allowed here",
	CodeBidi:                "the order of right-to-left and left-to-right characters is not allowed",
	CodeBadPercent:          "a percent sign is not followed by two hexadecimal digits",
	CodeDoubleEncoding:      "the text is percent-encoded twice",
	CodeBadDomain:           "this is not a valid domain name",
	CodeSingleLabel:         "the domain has one label only; give the full name, for example example.com",
	CodeIPNotAllowed:        "an IP address is not allowed; give a domain name",
	CodePortNotAllowed:      "a port is not allowed",
	CodeUserinfoNotAllowed:  "a user name is not allowed before the host",
	CodePasswordNotAllowed:  "a password is not allowed",
	CodeAuthorityNotAllowed: "this kind of URI has no //",
	CodeReservedDomain:      "the domain is reserved and cannot have identities",
	CodeQueryNotAllowed:     "a query (?) is not allowed",
	CodeFragmentNotAllowed:  "a fragment (#) is not allowed",
	CodeUnknownParam:        "the parameter is not known",
	CodeExtraSegment:        "there are too many parts",
	CodeDotSegment:          "a part cannot be . or ..",
	CodeSchemeNotAllowed:    "the scheme is not im, mimi, xmpp, sip, mailto or wireapp",
	CodeUnknownSystem:       "the identifier system is not known",
	CodeUnknownType:         "the type is not known",
	CodeTypeAmbiguous:       "the text could be a nick or a channel; add ,isuser or ,ischannel",
	CodeTypeMismatch:        "the identifier has another type than stated",
	CodeOverlongPart:        "this part is too long",
	CodeOverlongURI:         "the identifier is too long",
	CodeNotCanonical:        "the spelling is not canonical",
	CodeMixedScript:         "the name mixes scripts",
	CodeConfusable:          "the name looks like another one",
	CodeReservedHandle:      "the name is reserved",
	CodeTaken:               "the name is taken",
	CodeInQuarantine:        "the name was released recently and cannot be taken yet",
}

// A required part is absent or empty.
const (
	CodeEmptyPart     Code = "empty_part"
	CodeMissingDomain Code = "missing_domain"
	CodeMissingLocal  Code = "missing_local"
	CodeMissingDevice Code = "missing_device"
)

// Text that is not allowed in its place.
const (
	CodeNotUTF8        Code = "not_utf8"
	CodeControlChar    Code = "control_char"
	CodeDisallowedChar Code = "disallowed_char"
	CodeBidi           Code = "bidi"
	CodeBadPercent     Code = "bad_percent"
	CodeDoubleEncoding Code = "double_encoding"
)

// The host part.
const (
	CodeBadDomain           Code = "bad_domain"
	CodeSingleLabel         Code = "single_label"
	CodeIPNotAllowed        Code = "ip_not_allowed"
	CodePortNotAllowed      Code = "port_not_allowed"
	CodeUserinfoNotAllowed  Code = "userinfo_not_allowed"
	CodePasswordNotAllowed  Code = "password_not_allowed"
	CodeAuthorityNotAllowed Code = "authority_not_allowed"
	CodeReservedDomain      Code = "reserved_domain"
)

// The shape of a URI and what it names.
const (
	CodeQueryNotAllowed    Code = "query_not_allowed"
	CodeFragmentNotAllowed Code = "fragment_not_allowed"
	CodeUnknownParam       Code = "unknown_param"
	CodeExtraSegment       Code = "extra_segment"
	CodeDotSegment         Code = "dot_segment"
	CodeSchemeNotAllowed   Code = "scheme_not_allowed"
	CodeUnknownSystem      Code = "unknown_system"
	CodeUnknownType        Code = "unknown_type"
	CodeTypeAmbiguous      Code = "type_ambiguous"
	CodeTypeMismatch       Code = "type_mismatch"
	CodeOverlongPart       Code = "overlong_part"
	CodeOverlongURI        Code = "overlong_uri"
	CodeNotCanonical       Code = "not_canonical"
)

// Refusals at registration. The first two are also warnings about identifiers of others, see [Policy.Warnings].
// [CodeTaken] and [CodeInQuarantine] are for the register of a domain; this package never returns them.
const (
	CodeMixedScript    Code = "mixed_script"
	CodeConfusable     Code = "confusable"
	CodeReservedHandle Code = "reserved_handle"
	CodeTaken          Code = "taken"
	CodeInQuarantine   Code = "in_quarantine"
)

// The parts that an [Error] names.
const (
	PartURI    = "uri"
	PartScheme = "scheme"
	PartSystem = "system"
	PartType   = "type"
	PartDomain = "domain"
	PartLocal  = "local"
	PartDevice = "device"
)

// An Error describes a fault of an identifier and its position. It never contains the text, which may have control characters or
// secrets, so it may be logged and shown.
//
// If a text has several faults, the first of these is reported: the length of the whole; ill-formed text and controls; the scheme;
// authority, query and fragment; the system; parameters; extra, missing or empty parts; percent-encoding; the type; the
// domain; the local part; the device part. Within a part, characters come before its length, and the Bidi rule comes last.
type Error struct {
	Code   Code
	Part   string // one of the Part constants
	Offset int    // bytes from the start of the text; the start of the part when mapping has moved the place
	// Like is the name, or the ASCII letters, that a confusable name looks like, in lower case, if known.
	Like string
}

// Error says for example "claims: local: disallowed_char at byte 7".
func (e *Error) Error() string {
	return "claims: " + e.Part + ": " + string(e.Code) + " at byte " + strconv.Itoa(e.Offset)
}

// Unwrap returns the code.
func (e *Error) Unwrap() error { return e.Code }
