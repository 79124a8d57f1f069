package storage

// historyBits is how many numbers a history has, as a power of two.
const historyBits = 32

// History returns the history of the database in which the number of a revocation or of a client was given. A database that may have lost
// committed transactions, because a standby was promoted or an older state was restored, begins another history: its numbers are multiples
// of 2^32 further on. So no number is given twice, and those who follow the numbers see that rows which they have read may be missing.
func History(number int64) int64 { return number >> historyBits }

// FirstOf returns the lowest number of a history. No row has it.
func FirstOf(history int64) int64 { return history << historyBits }
