// Package faults has the fault test: three nodes behind HAProxy with PostgreSQL, and with Redis for spent proofs, serve clients while
// nodes are killed, databases restart, fail over and become unreachable, and a clock is wrong. docs/reliability.md describes it.
//
// It has tests only. A plan that a seed determines says which faults happen (plan_test.go), clients act and keep a record of all that
// was acknowledged to them (user_test.go, session_test.go), and every answer is checked against that record.
package faults
