// Package layering tests the structure of this module. A table says which package may import which other one, and which
// packages may use a library; a test compares it with the imports of every file, so that each new dependency is a decision.
// Other tests compare docs/architecture.md and docs/review.md with the code.
package layering
