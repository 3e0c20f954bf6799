-- A purchase is of one user, be it shared in a family or not.
--
-- What the first file says of itself holds here as well, and what the fourth says of
-- indexes.
--
-- Apple gives each member of a family transactions of their own, so that one stable id
-- never stands for several users. Where it did, the purchase stays with one: one that
-- is active, and of these the one that was there first. The others have nothing of it
-- any more, and stay in the list as taken, under an id of their own.

CREATE TEMPORARY TABLE surplus ON COMMIT DROP AS
SELECT project, id, user_id, store, product_id, active FROM (
    SELECT project, id, user_id, store, product_id, active, row_number() OVER (PARTITION BY project, store, stable_id ORDER BY active DESC, created_at, id) AS place
    FROM purchases
) AS p WHERE place > 1;

-- The account tells when the last active purchase ends with the grace of the project,
-- which no row names: it is what the end is later than the latest expiration.
CREATE TEMPORARY TABLE ends ON COMMIT DROP AS
SELECT a.project, a.user_id, coalesce(a.purchases_end_at - max(p.expires_at), interval '0') AS grace
FROM accounts AS a LEFT JOIN purchases AS p ON p.project = a.project AND p.user_id = a.user_id AND p.active
WHERE EXISTS (SELECT FROM surplus AS s WHERE s.project = a.project AND s.user_id = a.user_id)
GROUP BY a.project, a.user_id, a.purchases_end_at;

UPDATE purchases AS p
SET active = false, reason = 'taken', stable_id = 'receipt:' || replace(p.id::text, '-', ''), due_at = NULL, leased_until = NULL, updated_at = greatest(p.updated_at, now())
FROM surplus AS s WHERE p.project = s.project AND p.id = s.id;

UPDATE accounts AS a
SET version = a.version + 1, active_purchases = coalesce(n.active, 0), purchases_end_at = n.end_at + g.grace
FROM ends AS g LEFT JOIN LATERAL (
    SELECT count(*) AS active, CASE WHEN count(p.expires_at) = count(*) THEN max(p.expires_at) END AS end_at
    FROM purchases AS p WHERE p.project = g.project AND p.user_id = g.user_id AND p.active
) AS n ON true
WHERE a.project = g.project AND a.user_id = g.user_id;

INSERT INTO events (project, position, id, user_id, at, name, actor_kind, actor_id, actor_name, data)
SELECT s.project, p.feed_offset + pg_current_xact_id()::text::bigint, gen_random_uuid(), s.user_id, now(), 'purchase.deactivated', 'system', '', '',
    jsonb_build_object('purchase_id', s.id::text, 'store', s.store, 'product_id', s.product_id, 'active', false, 'reason', 'taken')
FROM surplus AS s JOIN projects AS p ON p.project = s.project WHERE s.active;

DROP INDEX purchases_stable_key, purchases_user_key;
CREATE UNIQUE INDEX purchases_stable_key ON purchases (stable_id, store, project);

INSERT INTO migrations (name) VALUES ('0007_families');
