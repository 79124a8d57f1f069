package postgres

// SetCensusBlocks sets how many blocks one statement of a census reads, and returns a function that sets it back.
func SetCensusBlocks(n int) (restore func()) {
	before := censusBlocks
	censusBlocks = n
	return func() { censusBlocks = before }
}
