package storagetest

import "github.com/imidentity/issuer/storage"

// Faulty is a store that works until Fail says otherwise. It stands between the code under test and a real store:
//
//	s := storagetest.Faulty{Store: real, Fail: func(op string) error {
//		if op == "SpendCode" {
//			return errors.New("disk on fire")
//		}
//		return nil
//	}}
//
// Many goroutines may call Fail at once.
type Faulty = storage.Intercepted
