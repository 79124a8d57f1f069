package postgres_test

import (
	"testing"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/storagetest"
)

func TestStore(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.Store { return open(t, database(t)) })
}
