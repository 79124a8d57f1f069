package signin

import "context"

// A step is where a pending login is. The end of one step does not end another.
type step string

// The steps of a login. Each login has those that it needs.
const (
	stepChoose   step = "choose"   // the user chooses their domain or their OpenID provider
	stepProvider step = "provider" // the user is at the OpenID provider
	stepAgain    step = "again"    // the user has to go there again: the provider failed after it had received its code
	stepHandle   step = "handle"   // the user chooses a handle
	stepConsent  step = "consent"  // the user is asked for consent
	stepAnswered step = "answered" // a form was answered, and the answer is stored for its repeats: see [Logins.repeat]
)

// steps says which inputs each step accepts. An answered step accepts none: its row has a state of its own.
var steps = table{
	stepChoose:   {on((*Logins).choosePlace), on((*Logins).cancel)},
	stepProvider: {on((*Logins).identify)},
	stepAgain:    {on((*Logins).beginAgain)},
	stepHandle:   {on((*Logins).chooseHandle), on((*Logins).cancel), on((*Logins).useAnother)},
	stepConsent:  {on((*Logins).showConsent), on((*Logins).decide), on((*Logins).removeDevices), on((*Logins).useAnother)},
}

type table map[step][]action

// An action returns what runs for an input; nil if it is of another type.
type action func(in Input) run

type run func(s *Logins, ctx context.Context, v *visit) (Outcome, error)

// on makes an action of a method that accepts one type of input.
func on[I Input](method func(*Logins, context.Context, *visit, I) (Outcome, error)) action {
	return func(in Input) run {
		own, ok := in.(I)
		if !ok {
			return nil
		}
		return func(s *Logins, ctx context.Context, v *visit) (Outcome, error) { return method(s, ctx, v, own) }
	}
}

// action returns what runs for an input at a step; nil if the step does not accept it.
func (t table) action(at step, in Input) run {
	for _, a := range t[at] {
		if run := a(in); run != nil {
			return run
		}
	}
	return nil
}
