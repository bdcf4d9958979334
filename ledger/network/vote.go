package network

import (
	"crypto/ed25519"
	"fmt"
)

// A Vote is one mirror's consent to the next version, signed with its mirror key of this one. A mirror makes one vote for
// a version, ever, and has it on the disk before it leaves: two versions N+1 cannot both have a quorum then.
type Vote struct {
	Mirror    string `json:"mirror"`    // member name
	Version   int    `json:"version"`   // that it is for
	Digest    string `json:"digest"`    // of that version's document
	Signature string `json:"signature"` // base64, of "grille/v1/vote\n" and this object in one line without a signature
}

// NewVote signs a mirror's vote for next, which must follow prev. The caller sees to it that it is the mirror's only one
// for that version, and durable.
func NewVote(prev, next *Configuration, mirror string, key ed25519.PrivateKey) (Vote, error) {
	if err := CheckSuccessor(prev, next); err != nil {
		return Vote{}, fmt.Errorf("voting for version %d: %w", next.Version, err)
	}
	v := Vote{Mirror: mirror, Version: next.Version, Digest: next.Digest()}
	pub, err := checkBallot("vote", prev, v.Mirror, v.Version, v.Digest)
	if err != nil {
		return Vote{}, err
	}
	if v.Signature, err = sign(voteLabel, v.message(), key, pub); err != nil {
		return Vote{}, fmt.Errorf("voting as %s: %w", mirror, err)
	}
	return v, nil
}

func (v Vote) message() []byte {
	v.Signature = ""
	return compact(v)
}

// Verify checks that the vote is one of a mirror of prev for the version after it.
func (v Vote) Verify(prev *Configuration) error {
	pub, err := checkBallot("vote", prev, v.Mirror, v.Version, v.Digest)
	if err != nil {
		return err
	}
	if !verify(pub, voteLabel, v.message(), v.Signature) {
		return step("vote.signature", v.Signature, "the signature of "+v.Mirror+"'s mirror key on this vote")
	}
	return nil
}
