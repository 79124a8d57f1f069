package nested

import "context"

// OpenCounting is [Open], and tells how many signatures it checked.
func OpenCounting(ctx context.Context, token string, o Options) (signatures int, err error) {
	op, err := newOpener(&o)
	if err != nil {
		return 0, err
	}
	if err := op.read.token(&Layer{depth: 1}, token); err != nil {
		return op.signatures, err
	}
	_, err = op.open(ctx)
	return op.signatures, err
}
