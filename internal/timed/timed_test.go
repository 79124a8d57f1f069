package timed_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/timed"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/storagetest"
)

// TestEveryOperation holds that each method of a store is timed once, but for those by which tables are followed, and given
// its own arguments and answer: the store below fails at the operation of that name alone.
func TestEveryOperation(t *testing.T) {
	for method := range reflect.TypeFor[storage.Store]().Methods() {
		t.Run(method.Name, func(t *testing.T) {
			fire := errors.New(method.Name + " on fire")
			below := storagetest.Faulty{Fail: func(op string) error {
				if op == method.Name {
					return fire
				}
				return errors.New("asked for " + op)
			}}
			var reads, updates int
			store := timed.New(below, func(time.Duration) { reads++ }, func(time.Duration) { updates++ })
			f := reflect.ValueOf(store).MethodByName(method.Name)
			args := make([]reflect.Value, f.Type().NumIn())
			for i := range args {
				args[i] = reflect.Zero(f.Type().In(i))
				if f.Type().In(i) == reflect.TypeFor[context.Context]() {
					args[i] = reflect.ValueOf(t.Context())
				}
			}
			results := f.Call(args)
			if err, _ := results[len(results)-1].Interface().(error); err != fire {
				t.Errorf("%s = %v, want %v", method.Name, err, fire)
			}
			wantReads, wantUpdates := 1, 0
			switch method.Name {
			case "Update":
				wantReads, wantUpdates = 0, 1
			case "Ping", "Close", "Revocations", "Secrets", "SigningKeys", "Clients", "Waiting":
				wantReads = 0
			}
			if reads != wantReads || updates != wantUpdates {
				t.Errorf("timed as %d reads and %d updates, want %d and %d", reads, updates, wantReads, wantUpdates)
			}
		})
	}
}
