package api

// An AuditChain is the chain of records that one node wrote into the audit log.
type AuditChain struct {
	Node string `json:"node"`
	// Last is the number of its last record, and Hash the hash of that, in hexadecimal.
	Last int64  `json:"last"`
	Hash string `json:"hash"`
}
