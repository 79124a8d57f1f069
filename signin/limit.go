package signin

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/storage"
)

// reasonAtLimit is the reason of a removal on the page about the device limit.
const reasonAtLimit = "removed by the user at the device limit"

// ErrPartly is wrapped by the error of a request that has removed some of the devices before it failed. The same request goes on.
var ErrPartly = errors.New("signin: some devices were removed")

// atLimit returns the devices of a user for the page about the device limit, those that were seen least recently first.
func (s *Logins) atLimit(ctx context.Context, user storage.User) ([]LimitDevice, error) {
	devices, err := s.accounts.DevicesAtLimit(ctx, user)
	if err != nil {
		return nil, err
	}
	list := make([]LimitDevice, len(devices))
	for i, d := range devices {
		list[i] = LimitDevice{ID: d.ID, Name: d.Name, Platform: d.Platform, App: d.Client, Added: d.CreatedAt, Seen: d.SeenAt}
		if client, ok := s.oauth.Client(d.Client); ok {
			list[i].App = client.Title()
		}
	}
	return list, nil
}

// removeDevices answers the page about the device limit: the user wants to remove some of their devices. First it asks them to confirm
// that. Then it removes the devices and goes on with the login, which ends with a code, with the question for consent or, if there are
// still too many devices, with the same page again.
func (s *Logins) removeDevices(ctx context.Context, v *visit, in RemoveDevices) (Outcome, error) {
	user, over, err := s.asked(ctx, v)
	if over != nil || err != nil {
		return over, err
	}
	if !in.Confirmed || len(in.Devices) == 0 {
		return s.confirmRemoval(ctx, v, user, in.Devices)
	}
	ctx = audit.WithOrigin(ctx, audit.Origin{Actor: audit.ActorUser, Address: v.From, Client: v.row.Request.Get("client_id")})
	removed := 0
	for _, id := range in.Devices {
		done, err := s.accounts.RemoveDeviceOf(ctx, user, id, reasonAtLimit, func(ctx context.Context, tx storage.Tx) error {
			return stillPending(ctx, tx, v)
		})
		if errors.Is(err, account.ErrNoDevice) { // not one of theirs
			out, err := s.chooseAgain(ctx, v)
			return out, partly(removed, err)
		} else if err != nil {
			return nil, partly(removed, err)
		}
		if done.Changed {
			removed++
		}
	}
	out, err := s.proceed(ctx, v, v.progress.Identity, account.PendingSignIn{User: user}, false)
	return out, partly(removed, err)
}

// partly adds [ErrPartly] to the error of a request that has removed devices.
func partly(removed int, err error) error {
	if err == nil || removed == 0 {
		return err
	}
	return fmt.Errorf("%w: %w", ErrPartly, err)
}

// stillPending returns errOver if the login of a visit has ended, also if the provider has reported that it ended.
func stillPending(ctx context.Context, tx storage.Tx, v *visit) error {
	if _, err := tx.Login(ctx, v.row.State); errors.Is(err, storage.ErrNotFound) {
		return errOver
	} else if err != nil {
		return err
	}
	id := v.identity
	if ended, err := tx.LoggedOut(ctx, v.row.Domain, id.Issuer, id.Subject, id.SID, id.IssuedAt); err != nil {
		return err
	} else if ended {
		return errOver
	}
	return nil
}

// confirmRemoval asks whether the chosen devices are to be removed. If none of them is one of the user's, the page about the limit asks
// again.
func (s *Logins) confirmRemoval(ctx context.Context, v *visit, user storage.User, chosen []string) (Outcome, error) {
	devices, err := s.atLimit(ctx, user)
	if err != nil {
		return nil, err
	}
	devices = slices.DeleteFunc(devices, func(d LimitDevice) bool { return !slices.Contains(chosen, d.ID) })
	if len(devices) == 0 {
		return s.chooseAgain(ctx, v)
	}
	return Ask{v.answer(), v.Token, RemovalQuestion{
		Devices: devices, Targets: []string{s.returnURI(v.row.Request), s.providerURL(v.row.Provider)},
	}}, nil
}

// chooseAgain shows the page about the limit once more, for a form that names no device of the user.
func (s *Logins) chooseAgain(ctx context.Context, v *visit) (Outcome, error) {
	out, err := s.showConsent(ctx, v, ShowConsent{})
	if ask, ok := out.(Ask); ok {
		if q, ok := ask.Question.(ConsentQuestion); ok && q.Full {
			q.NoneChosen = true
			ask.Question = q
			return ask, err
		}
	}
	return out, err
}
