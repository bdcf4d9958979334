package dataset

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/schema"
	"github.com/grille-gateway/grille/exchange/vault"
)

// An encoded row is, for each column: 0 for a missing value; 1 and the number in 8 bytes; or 2, the length in 2 bytes and the
// text. A sealed record is version 1, the salt in 32 bytes, and the encoded row.
const (
	cellMissing = 0
	cellNumber  = 1
	cellText    = 2

	recordVersion = 1
	recordHeader  = 1 + fr.Bytes
)

const purposeRecord = "dataset record"

// appendRow appends the encoding of a row to b. Equal rows have equal encodings.
func appendRow(b []byte, row schema.Row) []byte {
	for i := range row {
		switch v := &row[i]; {
		case !v.Present:
			b = append(b, cellMissing)
		case v.Text != "":
			b = append(b, cellText)
			b = binary.BigEndian.AppendUint16(b, uint16(len(v.Text))) // schema.MaxText is below 2^16
			b = append(b, v.Text...)
		default:
			b = append(b, cellNumber)
			b = binary.BigEndian.AppendUint64(b, uint64(v.Number))
		}
	}
	return b
}

// parseRow reads the encoding of a row of the given schema.
func parseRow(b []byte, s *schema.Schema) (schema.Row, error) {
	row := make(schema.Row, len(s.Columns))
	bad := fmt.Errorf("%w: a record does not fit its schema", ErrCorrupt)
	for i := range row {
		if len(b) == 0 {
			return nil, bad
		}
		kind := b[0]
		b = b[1:]
		switch numeric := s.Columns[i].Numeric(); {
		case kind == cellMissing:
		case kind == cellNumber && numeric && len(b) >= 8:
			row[i] = schema.Value{Present: true, Number: int64(binary.BigEndian.Uint64(b))}
			if row[i].Number == math.MinInt64 {
				return nil, bad
			}
			b = b[8:]
		case kind == cellText && !numeric && len(b) >= 2:
			n := int(binary.BigEndian.Uint16(b))
			if n == 0 || n > schema.MaxText || len(b) < 2+n || !utf8.Valid(b[2:2+n]) {
				return nil, bad
			}
			row[i] = schema.Value{Present: true, Text: string(b[2 : 2+n])}
			b = b[2+n:]
		default:
			return nil, bad
		}
	}
	if len(b) != 0 {
		return nil, bad
	}
	return row, nil
}

// layout digests what gives a dataset's encoded rows their meaning: columns with names, types, scales and codes. Titles and
// units may change without new records.
func layout(s *schema.Schema) [sha256.Size]byte {
	type column struct {
		Name  string
		Type  schema.Type
		Scale int
		Codes []string
	}
	columns := make([]column, len(s.Columns))
	for i, c := range s.Columns {
		columns[i] = column{c.Name, c.Type, c.Scale, c.Codes}
	}
	b, err := json.Marshal(columns)
	if err != nil {
		panic("dataset: encoding plain strings and integers: " + err.Error())
	}
	return sha256.Sum256(b)
}

// A sealer seals the records of one dataset under one layout. A record's associated data is the dataset, the layout, the
// subject's key and the commitment in the tree, so that a sealed record opens beside the one leaf that was made from it: not
// for another subject, not for another version of the same record. The epoch is not in it, since the leaf is in the epoch's
// root: an unchanged record moves on to the next epoch as it is.
type sealer struct {
	vault   *vault.Vault
	schema  *schema.Schema
	context []byte // dataset and layout
}

func newSealer(v *vault.Vault, s *schema.Schema) *sealer {
	l := layout(s)
	context := append([]byte{byte(len(s.Dataset))}, s.Dataset...)
	return &sealer{vault: v, schema: s, context: append(context, l[:]...)}
}

func (s *sealer) associated(key circuits.Key, commitment [fr.Bytes]byte) []byte {
	ad := make([]byte, 0, len(s.context)+len(key)+len(commitment))
	ad = append(ad, s.context...)
	ad = append(ad, key[:]...)
	return append(ad, commitment[:]...)
}

// seal commits to an encoded row under a fresh salt.
func (s *sealer) seal(key circuits.Key, row []byte) (sealed []byte, commitment [fr.Bytes]byte, err error) {
	values, err := parseRow(row, s.schema)
	if err != nil {
		return nil, commitment, err
	}
	record, err := s.schema.Encode(values)
	if err != nil {
		return nil, commitment, err
	}
	var salt fr.Element
	salt.MustSetRandom() // uniform, by rejection
	c := record.Commitment(salt)
	commitment = c.Bytes()
	plaintext := make([]byte, 0, recordHeader+len(row))
	plaintext = append(plaintext, recordVersion)
	saltBytes := salt.Bytes()
	plaintext = append(plaintext, saltBytes[:]...)
	plaintext = append(plaintext, row...)
	sealed, err = s.vault.Seal(purposeRecord, s.associated(key, commitment), plaintext)
	return sealed, commitment, err
}

// open returns the encoded row and the salt of a sealed record.
func (s *sealer) open(key circuits.Key, commitment [fr.Bytes]byte, sealed []byte) (row []byte, salt fr.Element, err error) {
	plaintext, err := s.vault.Open(purposeRecord, s.associated(key, commitment), sealed)
	if err != nil {
		return nil, salt, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if len(plaintext) < recordHeader || plaintext[0] != recordVersion {
		return nil, salt, fmt.Errorf("%w: a record of an unknown version", ErrCorrupt)
	}
	if err := salt.SetBytesCanonical(plaintext[1:recordHeader]); err != nil {
		return nil, salt, fmt.Errorf("%w: a salt outside the field", ErrCorrupt)
	}
	return plaintext[recordHeader:], salt, nil
}
