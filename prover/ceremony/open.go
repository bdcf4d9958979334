package ceremony

import (
	"context"
	"math/big"
	"math/bits"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr/fft"
	groth16mpc "github.com/consensys/gnark/backend/groth16/bls12-381/mpcsetup"
	"github.com/consensys/gnark/constraint"
)

// openSecond computes what phase 2 begins with from what phase 1 gave, as gnark's Phase2.Initialize does, on every processor and
// without leaving Jacobian coordinates. Tests compare the two.
//
// For a wire w, A_w, B_w and C_w are the sums of its coefficients times the Lagrange polynomials of the rows where they stand. The
// evaluations are [A_w(tau)] and [B_w(tau)] in G1, [B_w(tau)] in G2 and [beta A_w(tau) + alpha B_w(tau) + C_w(tau)] in G1.
func (c *Circuit) openSecond(ctx context.Context, srs *groth16mpc.SrsCommons) (*groth16mpc.Phase2, *groth16mpc.Phase2Evaluations, error) {
	n := int(c.domain)
	roots := newRoots(c.domain)
	tau, err := lagrange[bls.G1Jac](ctx, roots, srs.G1.Tau[:n])
	if err != nil {
		return nil, nil, err
	}
	alphaTau, err := lagrange[bls.G1Jac](ctx, roots, srs.G1.AlphaTau)
	if err != nil {
		return nil, nil, err
	}
	betaTau, err := lagrange[bls.G1Jac](ctx, roots, srs.G1.BetaTau)
	if err != nil {
		return nil, nil, err
	}
	tau2, err := lagrange[bls.G2Jac](ctx, roots, srs.G2.Tau)
	if err != nil {
		return nil, nil, err
	}

	wires := c.columns()
	var e groth16mpc.Phase2Evaluations
	e.G1.A, e.G1.B, e.G2.B = make([]bls.G1Affine, len(wires)), make([]bls.G1Affine, len(wires)), make([]bls.G2Affine, len(wires))
	k := make([]bls.G1Affine, len(wires))
	coefficients := c.coefficients()
	err = each(ctx, len(wires), func(from, to int) error {
		for i := from; i < to; i++ {
			w := &wires[i]
			var a, b, sum bls.G1Jac
			var b2 bls.G2Jac
			combine(&a, w.left, coefficients, tau)
			combine(&b, w.right, coefficients, tau)
			combine(&b2, w.right, coefficients, tau2)
			combine(&sum, w.left, coefficients, betaTau)
			combine(&sum, w.right, coefficients, alphaTau)
			combine(&sum, w.out, coefficients, tau)
			e.G1.A[i].FromJacobian(&a)
			e.G1.B[i].FromJacobian(&b)
			e.G2.B[i].FromJacobian(&b2)
			k[i].FromJacobian(&sum)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	publics := c.publics + 1
	e.G1.VKK, e.G1.CKK = k[:publics:publics], [][]bls.G1Affine{}
	e.PublicAndCommitmentCommitted = [][]int{}

	p := new(groth16mpc.Phase2)
	_, _, p.Parameters.G1.Delta, p.Parameters.G2.Delta = bls.Generators()
	p.Parameters.G1.PKK = k[publics:]
	p.Parameters.G1.Z = make([]bls.G1Affine, n)
	for i := range n - 1 { // tau^i (tau^n - 1), in the order that gnark writes
		p.Parameters.G1.Z[roots.reversed(i)].Sub(&srs.G1.Tau[i+n], &srs.G1.Tau[i])
	}
	p.Parameters.G1.Z = p.Parameters.G1.Z[:n-1]
	return p, &e, nil
}

// jacobian is what both groups have in common in Jacobian coordinates.
type jacobian[J, P any] interface {
	*J
	FromAffine(*P) *J
	AddAssign(*J) *J
	SubAssign(*J) *J
	ScalarMultiplication(*J, *big.Int) *J
}

// roots are the powers of the inverse of the domain's root of unity.
type roots struct {
	inverse     []big.Int // of omega^i, i < n/2
	cardinality big.Int   // inverse of n
	shift       int
}

func newRoots(n uint64) *roots {
	domain := fft.NewDomain(n, fft.WithoutPrecompute())
	r := &roots{inverse: make([]big.Int, n/2), shift: 64 - bits.TrailingZeros64(n)}
	domain.CardinalityInv.BigInt(&r.cardinality)
	power := fr.One()
	for i := range r.inverse {
		power.BigInt(&r.inverse[i])
		power.Mul(&power, &domain.GeneratorInv)
	}
	return r
}

// reversed is i with its bits in reverse order.
func (r *roots) reversed(i int) int { return int(bits.Reverse64(uint64(i)) >> r.shift) }

// lagrange turns [tau^i] into [L_i(tau)], or [alpha tau^i] into [alpha L_i(tau)]: the inverse Fourier transform in the group, in place
// by halves with the outputs in bit-reversed order.
func lagrange[J, P any, G jacobian[J, P]](ctx context.Context, r *roots, powers []P) ([]J, error) {
	n := len(powers)
	a := make([]J, n)
	for i := range a {
		G(&a[i]).FromAffine(&powers[i])
	}
	for half, step := n/2, 1; half >= 1; half, step = half/2, step*2 {
		err := each(ctx, n/2, func(from, to int) error {
			for k := from; k < to; k++ {
				at := k % half
				upper, lower := &a[2*k-at], &a[2*k-at+half]
				difference := *upper
				G(upper).AddAssign(lower)
				G(&difference).SubAssign(lower)
				if at > 0 {
					G(&difference).ScalarMultiplication(&difference, &r.inverse[at*step])
				}
				*lower = difference
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	out := make([]J, n)
	return out, each(ctx, n, func(from, to int) error {
		for i := from; i < to; i++ {
			G(&out[r.reversed(i)]).ScalarMultiplication(&a[i], &r.cardinality)
		}
		return nil
	})
}

// column is where a wire stands in the constraints.
type column struct{ left, right, out []entry }

// entry is a coefficient in a row, by its number in the table of coefficients.
type entry struct {
	row         int
	coefficient uint32
}

// columns are the constraints by wire.
func (c *Circuit) columns() []column {
	internal, secret, public := c.system.GetNbVariables()
	wires := make([]column, internal+secret+public)
	rows := c.system.GetR1CIterator()
	row := 0
	for r := rows.Next(); r != nil; r = rows.Next() {
		for _, t := range r.L {
			w := &wires[t.WireID()]
			w.left = append(w.left, entry{row, t.CID})
		}
		for _, t := range r.R {
			w := &wires[t.WireID()]
			w.right = append(w.right, entry{row, t.CID})
		}
		for _, t := range r.O {
			w := &wires[t.WireID()]
			w.out = append(w.out, entry{row, t.CID})
		}
		row++
	}
	return wires
}

// coefficients are the circuit's, the greater half of the field as negative numbers, for those are mostly small.
func (c *Circuit) coefficients() []big.Int {
	out := make([]big.Int, len(c.system.Coefficients))
	for i := range out {
		v := c.system.Coefficients[i]
		if v.LexicographicallyLargest() {
			v.Neg(&v).BigInt(&out[i])
			out[i].Neg(&out[i])
		} else {
			v.BigInt(&out[i])
		}
	}
	return out
}

// combine adds the entries' coefficients times the points of their rows to sum.
func combine[J, P any, G jacobian[J, P]](sum G, entries []entry, coefficients []big.Int, points []J) {
	for _, e := range entries {
		switch e.coefficient {
		case constraint.CoeffIdZero:
		case constraint.CoeffIdOne:
			sum.AddAssign(&points[e.row])
		case constraint.CoeffIdMinusOne:
			sum.SubAssign(&points[e.row])
		default:
			var product J
			sum.AddAssign(G(&product).ScalarMultiplication(&points[e.row], &coefficients[e.coefficient]))
		}
	}
}
