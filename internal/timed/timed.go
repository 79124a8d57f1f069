// Package timed measures how long a store takes to answer.
package timed

import (
	"time"

	"github.com/imidentity/issuer/storage"
)

// New returns a store that works on s and reports how long each read and each update took, whether it succeeded or not. A read
// within an update counts as part of the update. Polls (Revocations, Secrets, SigningKeys, Clients, Waiting) are not measured: they run
// all the time, whatever users do, and mostly find nothing new.
func New(s storage.Store, read, update func(time.Duration)) storage.Store {
	return storage.Intercepted{Store: s, Took: func(op string, took time.Duration) {
		switch op {
		case "Update":
			update(took)
		case "Ping", "Close", "Revocations", "Secrets", "SigningKeys", "Clients", "Waiting":
		default:
			read(took)
		}
	}}
}
