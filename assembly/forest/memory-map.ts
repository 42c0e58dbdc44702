// Where everything lies: the compiler's constants at the bottom, then the tables and the columns
// through which a batch of samples passes, then one record per slot. Every place is known at
// compile time; the host makes the memory large enough before it starts, and nothing ever grows.
// (`memory.data` would do the same, but a module with an imported memory then carries all these
// zeros in its file.)
//
//   ┌────────────────┬────────┬─────────────────┬──────────────────┬───────┬─────────┬─ ─┬───────┬───────┐
//   │ constants      │ tables │ input columns   │ output columns   │ rules │record 0 │    │ lives │ bytes │
//   └────────────────┴────────┴─────────────────┴──────────────────┴───────┴─────────┴─ ─┴───────┴───────┘
//   0                4096     12288                                  RECORDS, a multiple of 64
//
// Lives and bytes, one of each per slot, are drawn in rules.ts; no page of them is touched until a
// slot is given a rule.

/**
 * Samples per call. All columns together are 84 KiB: they stay in a second-level cache beside the
 * records.
 */
export const BATCH_MAX: i32 = 1024;

/** Made once from the seed, see table.ts. */
export const TREES: usize = 4096;
export const DAY: usize = TREES + 48 * 8;
/** Written by the host, see wall-clock.ts. */
export const ZONE: usize = DAY + 1440 * 2;
export const ZONE_CHANGES_MAX: i32 = 512;
const TABLES_END: usize = 12288;

export const SLOTS: usize = TABLES_END;
export const TIMESTAMPS: usize = SLOTS + BATCH_MAX * 4;
export const VALUE_BITS: usize = TIMESTAMPS + BATCH_MAX * 8;

export const SCORES: usize = VALUE_BITS + BATCH_MAX * 8;
export const ALARMS: usize = SCORES + BATCH_MAX * 4;
export const VALUES: usize = ALARMS + BATCH_MAX * 4;
export const EXPECTATIONS: usize = VALUES + BATCH_MAX * 8;
export const LOWERS: usize = EXPECTATIONS + BATCH_MAX * 8;
export const UPPERS: usize = LOWERS + BATCH_MAX * 8;
export const OUTCOMES: usize = UPPERS + BATCH_MAX * 8;
export const FLAGS: usize = OUTCOMES + BATCH_MAX;

/** A sample begins, raises or ends at most one anomaly. */
export const EVENT_ONSETS: usize = FLAGS + BATCH_MAX;
export const EVENT_TIMESTAMPS: usize = EVENT_ONSETS + BATCH_MAX * 8;
export const EVENT_INDEXES: usize = EVENT_TIMESTAMPS + BATCH_MAX * 8;
export const EVENT_PHASES: usize = EVENT_INDEXES + BATCH_MAX * 4;
export const EVENT_CAUSES: usize = EVENT_PHASES + BATCH_MAX;

/** What `describe` writes: 15 doubles. */
export const DESCRIPTION: usize = EVENT_CAUSES + BATCH_MAX;

/**
 * The rules that slots may be given, from 1 on: one that lets everything pass, and two lists of at
 * most 64, so that a new list does not take the place of one that is still in force.
 */
export const RULES_MAX: u32 = 130;
export const RULE_BYTES: usize = 32;
export const RULES: usize = (DESCRIPTION + 15 * 8 + 63) & ~63;
/** A record that the host puts there, as it was when learning stopped. */
export const SET_ASIDE: usize = RULES + ((<usize>RULES_MAX * RULE_BYTES + 63) & ~63);

/** What a slot with a rule has beside its record. */
export const LIFE_BYTES: usize = 64;

/** Where the record of slot 0 begins. */
export const RECORDS: usize = SET_ASIDE + 832;

/** The compiler must not have put more constants at the bottom than there is room for. */
export function checkMap(): void {
  assert(__heap_base <= TREES && ZONE + ((<usize>ZONE_CHANGES_MAX) << 3) <= TABLES_END);
}
