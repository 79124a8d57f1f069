package sqlite

var identifiers = map[string]func(string) (fileID, error){"statx": identify, "stat": identifyByStat}
