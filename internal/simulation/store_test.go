package simulation_test

import (
	"testing"

	"github.com/imidentity/issuer/internal/simulation"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/storagetest"
)

// The store of the simulation keeps the contract that the databases keep.
func TestStore(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storage.Store { return simulation.NewDatabase(simulation.Sound).Open(nil) })
}
