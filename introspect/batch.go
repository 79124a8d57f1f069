package introspect

import (
	"context"
	"errors"
)

// MaxBatch is how many tokens a question may be about at a time.
const MaxBatch = 100

// An Outcome is what is known about one token of a batch.
type Outcome struct {
	Answer Answer
	// Unknown says that the issuer cannot know now whether the token is active. The answer is then empty, and means nothing.
	Unknown bool
}

// IntrospectBatch returns the outcomes for tokens, in their order, each as [Introspector.Introspect] has it. A token that nothing is
// known about does not keep the caller from the answers about the others. The error is [ErrForbidden] or that of the context, or means
// that nothing is known about any of the tokens.
func (i *Introspector) IntrospectBatch(ctx context.Context, caller Caller, tokens []string) ([]Outcome, error) {
	outcomes := make([]Outcome, len(tokens))
	known, first := false, error(nil)
	for n, token := range tokens {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		verdict, err := i.Introspect(ctx, caller, Question{Token: token})
		switch {
		case err == nil:
			outcomes[n].Answer, known = verdict.Answer(), true
		case errors.Is(err, ErrForbidden):
			return nil, err
		default:
			outcomes[n].Unknown = true
			if first == nil {
				first = err
			}
		}
	}
	if !known && first != nil {
		return nil, first
	}
	return outcomes, nil
}

// unknownError is the code of an outcome that is not known (RFC 6749 §4.1.2.1).
const unknownError = "temporarily_unavailable"

// AppendBatch appends the JSON of outcomes to b: an object with the array answers. An outcome that is not known has the member error,
// and no active.
func AppendBatch(b []byte, outcomes []Outcome) []byte {
	return appendOutcomes(object{b: append(b, '{')}, outcomes, func(b []byte, a *Answer) []byte { return a.AppendJSON(b) })
}

// AppendBatchClaims appends the claims of a signed answer about several tokens to b. Each element of answers has the members
// token_introspection and im_detail of [Envelope.AppendClaims], or the member error.
func (e Envelope) AppendBatchClaims(b []byte, outcomes []Outcome) []byte {
	return appendOutcomes(e.open(b), outcomes, func(b []byte, a *Answer) []byte {
		o := object{b: append(b, '{')}
		o.introspection(a)
		return append(o.b, '}')
	})
}

// appendOutcomes writes the member answers, each element by write, and ends the object.
func appendOutcomes(o object, outcomes []Outcome, write func([]byte, *Answer) []byte) []byte {
	b := append(o.name("answers"), '[')
	for n := range outcomes {
		if n > 0 {
			b = append(b, ',')
		}
		if outcomes[n].Unknown {
			b = append(b, `{"error":"`+unknownError+`"}`...)
			continue
		}
		b = write(b, &outcomes[n].Answer)
	}
	return append(b, "]}"...)
}
