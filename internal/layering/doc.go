// Package layering holds the map of this module: which package may import which other one, and which package may see
// which library. It is a table and a test that reads the imports of every file and refuses an edge that the table
// lacks, so that a new edge is a decision that somebody made and wrote down.
package layering
