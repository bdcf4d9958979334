package exchange_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"math/big"
	"slices"

	"github.com/grille-gateway/grille/ledger/note"
)

func fromBytes(b []byte) string { return hex.EncodeToString(b) }

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func bigEndian(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// noteLine is a signature line of a signed note, whatever it signs; before stands between key id and signature.
func noteLine(name string, algorithm byte, key ed25519.PrivateKey, message, before []byte) string {
	id := sha256.Sum256(slices.Concat([]byte(name+"\n"), []byte{algorithm}, key.Public().(ed25519.PublicKey)))
	s := note.Signature{Name: name, Hash: binary.BigEndian.Uint32(id[:]), Body: append(before, ed25519.Sign(key, message)...)}
	return s.Line()
}

// order is that of Ed25519's base point, field its prime (RFC 8032 section 5.1).
var (
	order, _ = new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	field    = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
)

// littleEndian is a number in 32 bytes.
func littleEndian(n *big.Int) []byte {
	b := n.FillBytes(make([]byte, 32))
	slices.Reverse(b)
	return b
}

func fromLittle(b []byte) *big.Int {
	b = slices.Clone(b)
	slices.Reverse(b)
	return new(big.Int).SetBytes(b)
}

// scalar is the secret scalar of a key.
func scalar(key ed25519.PrivateKey) *big.Int {
	h := sha512.Sum512(key.Seed())
	h[0] &= 248
	h[31] = h[31]&63 | 64
	return fromLittle(h[:32])
}

// largeS is a valid signature with the group's order added to S, which RFC 8032 refuses.
func largeS(signature []byte) []byte {
	s := fromLittle(signature[32:])
	return append(slices.Clone(signature[:32]), littleEndian(s.Add(s, order))...)
}

// torsioned is a signature with a point of order two added to R: [8][S]B = [8]R + [8][k]A, and [S]B is not R + [k]A.
func torsioned(key, ephemeral ed25519.PrivateKey, message []byte) []byte {
	r := slices.Clone(ephemeral.Public().(ed25519.PublicKey)) // (x, y) + (0, -1) = (-x, -y)
	sign := r[31] & 0x80
	r[31] &= 0x7f
	r = littleEndian(new(big.Int).Sub(field, fromLittle(r)))
	r[31] |= sign ^ 0x80
	h := sha512.Sum512(slices.Concat(r, key.Public().(ed25519.PublicKey), message))
	s := fromLittle(h[:])
	s.Mul(s, scalar(key)).Add(s, scalar(ephemeral)).Mod(s, order)
	return append(r, littleEndian(s)...)
}
