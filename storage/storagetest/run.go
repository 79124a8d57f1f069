// Package storagetest tests stores against the contract [storage.Store]: [Run] is one suite for all of them. Tests of other packages
// use [Faulty], which makes a real store fail at chosen operations.
package storagetest

import (
	"context"
	"sync"
	"testing"

	"github.com/imidentity/issuer/storage"
)

// Run tests the stores that open returns, each of them empty, against the contract of [storage.Store], and closes them.
func Run(t *testing.T, open func(t *testing.T) storage.Store) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, s storage.Store)
	}{
		{"RecordsRoundTrip", testRecordsRoundTrip},
		{"TextRoundTrips", testTextRoundTrips},
		{"TimesRoundTrip", testTimesRoundTrip},
		{"ReadsFindNothing", testReadsFindNothing},
		{"InsertsConflict", testInsertsConflict},
		{"UpdatesWriteAllButTheKey", testUpdatesWriteAllButTheKey},
		{"UpdatesFindNothing", testUpdatesFindNothing},
		{"DomainsAreApart", testDomainsAreApart},
		{"SecretIsReplaced", testSecretIsReplaced},
		{"SecretsAreListedAndDeleted", testSecretsAreListedAndDeleted},
		{"ListsAreOldestFirst", testListsAreOldestFirst},
		{"NewestIsWhatWasNotedLast", testNewestIsWhatWasNotedLast},
		{"Histories", testHistories},
		{"CensusCountsWhatIsLive", testCensusCountsWhatIsLive},
		{"UsersByPages", testUsersByPages},
		{"UsersOfAProvider", testUsersOfAProvider},
		{"WhatBelongsToAUser", testWhatBelongsToAUser},
		{"DevicesByPages", testDevicesByPages},
		{"StatementsByPages", testStatementsByPages},

		{"UpdateIsUndoneByAnError", testUpdateIsUndoneByAnError},
		{"UpdateIsUndoneByAPanic", testUpdateIsUndoneByAPanic},
		{"UpdateReturnsThatVeryError", testUpdateReturnsThatVeryError},
		{"UpdateGoesOnAfterARefusal", testUpdateGoesOnAfterARefusal},
		{"UpdateSeesItsOwnWrites", testUpdateSeesItsOwnWrites},
		{"UpdateIsHiddenUntilItEnds", testUpdateIsHiddenUntilItEnds},
		{"UpdatesDoNotMix", testUpdatesDoNotMix},
		{"UpdatesFailAlone", testUpdatesFailAlone},
		{"UpdateIsSeenOnceAcknowledged", testUpdateIsSeenOnceAcknowledged},
		{"UpdateIsNotBegunAfterItsContext", testUpdateIsNotBegunAfterItsContext},
		{"UpdateOutlivesItsContext", testUpdateOutlivesItsContext},
		{"UpdateInUpdateIsAnError", testUpdateInUpdateIsAnError},
		{"TxIsOverAfterUpdate", testTxIsOverAfterUpdate},

		{"ViewIsOneMoment", testViewIsOneMoment},
		{"ViewIsOfItsFirstRead", testViewIsOfItsFirstRead},
		{"ViewSeesWhatWasAcknowledged", testViewSeesWhatWasAcknowledged},
		{"ViewsDoNotMixUpdates", testViewsDoNotMixUpdates},
		{"ViewReturnsThatVeryError", testViewReturnsThatVeryError},
		{"ViewGoesOnAfterNotFound", testViewGoesOnAfterNotFound},
		{"ViewsThatPanic", testViewsThatPanic},
		{"ViewEndsWithItsContext", testViewEndsWithItsContext},
		{"ViewsAreNotNested", testViewsAreNotNested},
		{"ReaderIsOverAfterView", testReaderIsOverAfterView},
		{"CloseRefusesViews", testCloseRefusesViews},

		{"SessionIsOneMoment", testSessionIsOneMoment},
		{"RotateOnlyLiveGrants", testRotateOnlyLiveGrants},
		{"RotateOnceInParallel", testRotateOnceInParallel},
		{"EndGrantOnce", testEndGrantOnce},
		{"EndDeviceGrants", testEndDeviceGrants},
		{"EndUserGrants", testEndUserGrants},
		{"EndLogin", testEndLogin},
		{"BrowserSessions", testBrowserSessions},
		{"BrowserSessionsEnd", testBrowserSessionsEnd},
		{"UpstreamTokenIsChangedOnceInParallel", testUpstreamTokenIsChangedOnceInParallel},
		{"UpstreamTokenEnds", testUpstreamTokenEnds},
		{"UpstreamTokenGoesWithTheLast", testUpstreamTokenGoesWithTheLast},
		{"RenameKey", testRenameKey},
		{"DeleteLink", testDeleteLink},
		{"EndClientGrants", testEndClientGrants},
		{"ClientsAreNumbered", testClientsAreNumbered},
		{"RegisteredClientsAreCounted", testRegisteredClientsAreCounted},
		{"ClientsAreFollowedWhileRacing", testClientsAreFollowedWhileRacing},
		{"ClientIDsAreTakenOnce", testClientIDsAreTakenOnce},
		{"SpendOnceInParallel", testSpendOnceInParallel},
		{"SpendUndone", testSpendUndone},
		{"SpendIDOnceInParallel", testSpendIDOnceInParallel},
		{"SpendIDUndone", testSpendIDUndone},
		{"KeptAnswers", testKeptAnswers},
		{"KeepAnswerInParallel", testKeepAnswerInParallel},
		{"DeviceCodeBoundOnceInParallel", testDeviceCodeBoundOnceInParallel},
		{"DeviceCodeDecidedOnceInParallel", testDeviceCodeDecidedOnceInParallel},
		{"DeviceCodeSpentOnceInParallel", testDeviceCodeSpentOnceInParallel},
		{"DeviceCodesEnd", testDeviceCodesEnd},
		{"DeviceCodesAreSwept", testDeviceCodesAreSwept},
		{"TakeLoginOnceInParallel", testTakeLoginOnceInParallel},
		{"TakePushedOnceInParallel", testTakePushedOnceInParallel},
		{"TakeNameOnceInParallel", testTakeNameOnceInParallel},
		{"NameIsHeldOnce", testNameIsHeldOnce},
		{"NameStaysTakenWhenReleased", testNameStaysTakenWhenReleased},
		{"DeviceKeyStaysTakenWhenRemoved", testDeviceKeyStaysTakenWhenRemoved},
		{"RekeyDevice", testRekeyDevice},
		{"RekeyDeviceRefused", testRekeyDeviceRefused},
		{"RekeyOnceInParallel", testRekeyOnceInParallel},
		{"UserEvents", testUserEvents},
		{"UserEventsRaced", testUserEventsRaced},
		{"EventsAreKept", testEventsAreKept},
		{"FormerNames", testFormerNames},
		{"OldAuditIsErased", testOldAuditIsErased},
		{"EndedGrantsAreKept", testEndedGrantsAreKept},
		{"DevicesAreForgotten", testDevicesAreForgotten},
		{"ForgottenDevicesStayRefused", testForgottenDevicesStayRefused},
		{"SearchUsers", testSearchUsers},
		{"Removal", testRemoval},
		{"Tombstones", testTombstones},
		{"Audit", testAudit},
		{"AuditOfAUser", testAuditOfAUser},
		{"AuditIsCut", testAuditIsCut},
		{"AuditRaced", testAuditRaced},
		{"ActiveDevices", testActiveDevices},
		{"DevicesInUse", testDevicesInUse},
		{"LiveGrants", testLiveGrants},
		{"DeviceNumberOnceInParallel", testDeviceNumberOnceInParallel},

		{"StatementsAreOldestFirst", testStatementsAreOldestFirst},
		{"StandingStatementsByPages", testStandingStatementsByPages},
		{"WithdrawalsCoverStatements", testWithdrawalsCoverStatements},
		{"DevicesUnder", testDevicesUnder},
		{"CountRevocations", testCountRevocations},
		{"SweepIsBounded", testSweepIsBounded},
		{"SpentIDsOutliveTheirExpiry", testSpentIDsOutliveTheirExpiry},
		{"WithdrawStatementOnce", testWithdrawStatementOnce},

		{"StatusEntriesAreTakenOnce", testStatusEntriesAreTakenOnce},
		{"StatusEntriesAreTakenOnceInParallel", testStatusEntriesAreTakenOnceInParallel},
		{"StatusEntriesEndWithGrants", testStatusEntriesEndWithGrants},
		{"StatusEntriesEndWithGenerations", testStatusEntriesEndWithGenerations},
		{"StatusEntriesEndUndone", testStatusEntriesEndUndone},
		{"SetGrantStatus", testSetGrantStatus},
		{"SweepTakesStatusLists", testSweepTakesStatusLists},

		{"CredentialsByPages", testCredentialsByPages},
		{"LiveCredentials", testLiveCredentials},
		{"CredentialsOfADevice", testCredentialsOfADevice},
		{"InsertCredentialRefused", testInsertCredentialRefused},
		{"EndCredentials", testEndCredentials},
		{"CredentialsEndWithTheirOwners", testCredentialsEndWithTheirOwners},
		{"CredentialHandlesEnd", testCredentialHandlesEnd},
		{"CredentialsForgetHandles", testCredentialsForgetHandles},
		{"CredentialLists", testCredentialLists},
		{"SweepTakesCredentials", testSweepTakesCredentials},
		{"CredentialEndsAreFollowedWhileRacing", testCredentialEndsAreFollowedWhileRacing},
		{"CredentialsRaceWithRemoval", testCredentialsRaceWithRemoval},
		{"CredentialLimitInParallel", testCredentialLimitInParallel},
		{"CredentialKeyInParallel", testCredentialKeyInParallel},
		{"CertificatesEnd", testCertificatesEnd},
		{"CertificatesCounted", testCertificatesCounted},
		{"SweepTakesCertificates", testSweepTakesCertificates},

		{"SignedDocumentsAreReplaced", testSignedDocumentsAreReplaced},
		{"SignedDocumentsOfAUser", testSignedDocumentsOfAUser},
		{"SignedDocumentsAreChangedOnceInParallel", testSignedDocumentsAreChangedOnceInParallel},
		{"SignedDocumentsGoWithTheirUser", testSignedDocumentsGoWithTheirUser},
		{"Opinions", testOpinions},
		{"OpinionsAboutAUserAreDeleted", testOpinionsAboutAUserAreDeleted},
		{"ProfilesByFingerprint", testProfilesByFingerprint},

		{"RevocationsAreNumbered", testRevocationsAreNumbered},
		{"RevocationsAreFollowedWhileRacing", testRevocationsAreFollowedWhileRacing},
		{"RevocationsNameTheirDomain", testRevocationsNameTheirDomain},
		{"RevokeTwice", testRevokeTwice},
		{"RevocationNumbersAreNotReused", testRevocationNumbersAreNotReused},
		{"SweepTakesWhatExpired", testSweepTakesWhatExpired},
		{"SweepLeavesGrantsThatCodesName", testSweepLeavesGrantsThatCodesName},

		{"Ping", testPing},
		{"CloseWaitsForUpdates", testCloseWaitsForUpdates},
		{"CloseRefusesWhatComesLater", testCloseRefusesWhatComesLater},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := open(t)
			defer s.Close()
			test.run(t, s)
		})
	}
}

// write runs fn in an update that must succeed.
func write(t *testing.T, s storage.Store, fn func(ctx context.Context, tx storage.Tx) error) {
	t.Helper()
	if err := s.Update(t.Context(), fn); err != nil {
		t.Fatalf("Update = %v, want nil", err)
	}
}

// race runs fn n times at once, numbered from 0, and returns their errors by number.
func race(n int, fn func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = fn(i)
		})
	}
	close(start)
	wg.Wait()
	return errs
}
