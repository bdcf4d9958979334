package ceremony

import (
	"context"
	"math/big"
	"runtime"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"golang.org/x/sync/errgroup"
)

// affine is what the points of both groups have in common.
type affine[P any] interface {
	*P
	ScalarMultiplication(a *P, s *big.Int) *P
	SetBytes(data []byte) (int, error)
}

// partSize is how many points one processor works on before it looks at the context again: some tens of milliseconds.
const partSize = 128

// each calls do for all parts of [0, n), on every processor. The error is the first of do, or the context's.
func each(ctx context.Context, n int, do func(from, to int) error) error {
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for from := 0; from < n && ctx.Err() == nil; from += partSize {
		g.Go(func() error {
			err := do(from, min(n, from+partSize))
			if err != nil {
				cancel(err)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// scale multiplies the point at i by factor * ratio^i.
func scale[P any, A affine[P]](ctx context.Context, run []P, factor, ratio fr.Element) error {
	return each(ctx, len(run), func(from, to int) error {
		var scalar fr.Element
		var s big.Int
		scalar.Exp(ratio, big.NewInt(int64(from))).Mul(&scalar, &factor)
		for i := from; i < to; i++ {
			A(&run[i]).ScalarMultiplication(&run[i], scalar.BigInt(&s))
			scalar.Mul(&scalar, &ratio)
		}
		return nil
	})
}

// readRun reads as many compressed points as run has from data. Each is checked to be in its subgroup.
func readRun[P any, A affine[P]](ctx context.Context, data []byte, run []P) error {
	size := pointSize[P]()
	return each(ctx, len(run), func(from, to int) error {
		for i := from; i < to; i++ {
			if _, err := A(&run[i]).SetBytes(data[i*size : (i+1)*size : (i+1)*size]); err != nil {
				return refuse(ReasonPoints, "reading point %d of %d: %w", i, len(run), err)
			}
		}
		return nil
	})
}

func pointSize[P any]() int {
	if _, ok := any(new(P)).(*bls.G1Affine); ok {
		return g1Size
	}
	return g2Size
}
