package circuits

import "github.com/consensys/gnark/frontend"

// SlotInputs is one slot of the opened bucket.
type SlotInputs struct {
	Key, Commitment frontend.Variable
}

// bucketHash is the circuit's twin of Bucket.Hash.
func bucketHash(api frontend.API, b *[Slots]SlotInputs) frontend.Variable {
	h := hash(api, UseBucket1, b[0].Key, b[0].Commitment, b[1].Key)
	h = hash(api, UseBucket2, h, b[1].Commitment, b[2].Key)
	return hash(api, UseBucket3, h, b[2].Commitment, 0)
}

// match looks the key up in the bucket. It returns present, a bit, and the commitment of the one slot that has the key, 0 if
// none has. A key in two or three slots satisfies no assignment: the number of matches is asserted to be a bit.
func match(api frontend.API, b *[Slots]SlotInputs, key frontend.Variable) (present, commitment frontend.Variable) {
	present, commitment = 0, 0
	for i := range b {
		equal := api.IsZero(api.Sub(b[i].Key, key))
		present = api.Add(present, equal)
		commitment = api.Add(commitment, api.Mul(equal, b[i].Commitment))
	}
	api.AssertIsBoolean(present)
	return present, commitment
}
