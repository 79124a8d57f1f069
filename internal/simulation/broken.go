package simulation

// Broken names a fault that a simulation is given on purpose.
type Broken string

// The faults. Sound is none.
const (
	Sound               Broken = ""
	NumbersBeforeCommit Broken = "revocations are numbered by a plain sequence, before their commit"
	OverlapsAreAllowed  Broken = "transactions that overlap are both committed"
	AcknowledgesUndone  Broken = "a transaction that is undone is acknowledged now and then"
	SpendsCodeTwice     Broken = "a code that is spent can be spent again"
	RotatesAnything     Broken = "a refresh changes the session whatever has become of it"
	SpendsInTwoSteps    Broken = "a proof is looked up and recorded in two steps"
	SameEpoch           Broken = "spent proofs are lost, and the epoch stays"
	FreshAfterFailure   Broken = "a node takes a failed read of the revocations for one that found nothing"
	UnknownKeyIsForeign Broken = "a node takes a token under a key that it has not read yet for none of the issuer's"
	LosesCommits        Broken = "a failover loses the last commit"
	KeepsCredentials    Broken = "the removal of a device leaves its credentials"
	MissesEnds          Broken = "a read of the ends of credentials finds nothing now and then"
)

// Faults are all faults but [Sound].
var Faults = []Broken{
	NumbersBeforeCommit, OverlapsAreAllowed, AcknowledgesUndone, SpendsCodeTwice, RotatesAnything, SpendsInTwoSteps, SameEpoch,
	FreshAfterFailure, UnknownKeyIsForeign, LosesCommits, KeepsCredentials, MissesEnds,
}
