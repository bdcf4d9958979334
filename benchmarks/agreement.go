package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/agreement"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/view"
)

// aimBudgetCheck is how many microseconds finding the right and reserving an answer may take: a hundredth of the fastest answer.
const aimBudgetCheck = 1000

// agreement measures what a query pays for its agreement: finding the right among those granted, reserving an answer of the budget
// among a million subjects charged, and, where two approvers sign, verifying them as a log is read.
func (b *bench) agreement(context.Context) error {
	b.stage("finding rights and reserving answers")
	charged := b.samples(1_000_000, 10_000)
	meter, budget := agreement.NewMeter(), agreement.Budget{PerSubject: 2, Total: 2 * charged}
	for i := range charged {
		meter.Charge(0, numbered(i))
	}
	const policies = 50
	for _, granted := range []int{1, 100, 10_000} {
		log := view.NewLog()
		for i := range granted {
			log.Add(entry.AgreementAccept{Offer: entry.Ref{Index: uint64(i)}, Terms: entry.Terms{Requester: fmt.Sprintf("GOV/m%d", i), Holder: "GOV/tax",
				Policy: "aged", PolicyVersion: 1, PolicyIndex: uint64(i % policies), Purpose: "p", LegalBasis: "l", Expires: "2036-01-01T00:00:00Z"}})
		}
		use := agreement.Use{Requester: "GOV/m0", Holder: "GOV/tax", Policy: "aged", PolicyVersion: 1, Purpose: "p", LegalBasis: "l", At: time.Now()}
		micros := make([]float64, 0, b.samples(2_000, 100))
		for i := range cap(micros) {
			started := time.Now()
			right, why := agreement.Find(log.At(log.Size()), use)
			if why != "" || right.Index != 0 {
				return fmt.Errorf("finding the right: %q", why)
			}
			key := numbered(i % charged)
			if err := meter.Reserve(right.Index, key, budget); err != nil {
				return err
			}
			micros = append(micros, float64(time.Since(started).Nanoseconds())/1e3)
			meter.Release(right.Index, key)
		}
		b.add("agreement", fmt.Sprintf("right found and answer reserved: %d agreements on 50 policies, %d subjects charged", granted, charged), "us", len(micros), tail(micros), "p99", aimBudgetCheck)
	}
	return b.approvals()
}

// numbered is a subject's key.
func numbered(i int) (key circuits.Key) {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
	copy(key[:], sum[:])
	return key
}

// approvals measures what a log's reader pays for a policy that two people approved.
func (b *bench) approvals() error {
	const origin = "bench/GOV/tax/log/1"
	var e entry.Approved = entry.PolicyPublish{Policy: "aged", Version: 1, Dataset: "people", Title: "t", Question: "q",
		Source: entry.Source{Language: "l", Text: "t"}, Template: fmt.Appendf(nil, `{"t":%q}`, strings.Repeat("x", 4096)), Time: "2026-03-01T12:00:00Z"}
	rule := network.Approvers{Number: 2}
	for i := range byte(2) {
		key := ed25519.NewKeyFromSeed(slices.Repeat([]byte{i}, ed25519.SeedSize))
		rule.Keys = append(rule.Keys, base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey)))
		var err error
		if e, err = entry.Approve(origin, e, key); err != nil {
			return err
		}
	}
	wall, _, err := measure(b.samples(1_000, 50), nil, func() error {
		return network.CheckApprovals([]network.Approvers{rule}, origin, 0, e)
	})
	if err != nil {
		return err
	}
	if network.CheckApprovals([]network.Approvers{rule}, "bench/GOV/civil/log/1", 0, e) == nil {
		return errors.New("an approval counts on another log")
	}
	for i := range wall {
		wall[i] *= 1000
	}
	b.add("agreement", "two approvals of a policy verified", "us", len(wall), tail(wall), "", 0)
	return nil
}
