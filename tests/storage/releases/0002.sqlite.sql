BEGIN TRANSACTION;
CREATE TABLE acknowledgements (
	id INTEGER NOT NULL, 
	incident_id INTEGER NOT NULL, 
	"by" TEXT NOT NULL, 
	why TEXT NOT NULL, 
	acknowledged_at VARCHAR(23) NOT NULL, 
	until VARCHAR(23), 
	ended_at VARCHAR(23), 
	CONSTRAINT pk_acknowledgements PRIMARY KEY (id), 
	CONSTRAINT fk_acknowledgements_incident_id FOREIGN KEY(incident_id) REFERENCES incidents (id) ON DELETE CASCADE
);
INSERT INTO "acknowledgements" VALUES(1,1,'mia','asked the client','2026-02-22 22:00:00.000',NULL,'2026-02-23 00:15:00.000');
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0002');
CREATE TABLE connections (
	id INTEGER NOT NULL, 
	target_id INTEGER NOT NULL, 
	platform TEXT NOT NULL, 
	platform_id TEXT NOT NULL, 
	username TEXT NOT NULL, 
	display_name TEXT, 
	token_status TEXT NOT NULL, 
	expires_at VARCHAR(23), 
	last_successful_post_at VARCHAR(23), 
	last_error TEXT, 
	last_error_at VARCHAR(23), 
	error_seen_at VARCHAR(23), 
	settled_error_at VARCHAR(23), 
	first_seen_at VARCHAR(23) NOT NULL, 
	last_seen_at VARCHAR(23), 
	missing INTEGER DEFAULT '0' NOT NULL, 
	removed_at VARCHAR(23), dated_at VARCHAR(23), renewed_at VARCHAR(23), renewals INTEGER DEFAULT '0' NOT NULL, habit TEXT, 
	CONSTRAINT pk_connections PRIMARY KEY (id), 
	CONSTRAINT fk_connections_target_id FOREIGN KEY(target_id) REFERENCES targets (id) ON DELETE CASCADE
);
INSERT INTO "connections" VALUES(1,1,'linkedin','linkedin-Tz9W5i6ZYG','johndoe','John Doe','valid','2026-04-23 20:00:00.000',NULL,NULL,NULL,NULL,NULL,'2026-02-22 20:15:00.000','2026-02-23 02:00:00.000',3,'2026-02-23 02:45:00.000',NULL,NULL,0,NULL);
INSERT INTO "connections" VALUES(2,1,'instagram','instagram-1784','brand','John Doe','expired','2026-02-23 01:00:00.000',NULL,NULL,NULL,NULL,NULL,'2026-02-22 20:15:00.000',NULL,0,NULL,'2026-02-23 02:15:00.000',NULL,0,NULL);
INSERT INTO "connections" VALUES(3,2,'youtube','youtube-1','client','Client & Söhne','valid',NULL,NULL,'Media upload failed: Invalid image format','2026-02-22 22:00:00.000','2026-02-22 22:15:00.000',NULL,'2026-02-22 20:15:00.000',NULL,0,NULL,NULL,NULL,0,NULL);
INSERT INTO "connections" VALUES(4,3,'youtube','youtube-1','client','Client & Söhne','valid',NULL,NULL,NULL,NULL,NULL,NULL,'2026-02-22 20:15:00.000',NULL,0,NULL,NULL,NULL,0,NULL);
INSERT INTO "connections" VALUES(5,3,'twitter','twitter-2','johndoe','John Doe','unknown',NULL,NULL,NULL,NULL,NULL,NULL,'2026-02-22 20:15:00.000',NULL,0,NULL,NULL,NULL,0,NULL);
CREATE TABLE incidents (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	rule TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	account TEXT, 
	target_id INTEGER, 
	connection_id INTEGER, 
	channel TEXT, 
	severity TEXT NOT NULL, 
	worst TEXT NOT NULL, 
	summary TEXT NOT NULL, 
	remedy TEXT NOT NULL, 
	deadline_at VARCHAR(23), 
	memory TEXT NOT NULL, 
	opened_at VARCHAR(23) NOT NULL, 
	flaps INTEGER DEFAULT '0' NOT NULL, 
	calm_since VARCHAR(23), 
	acknowledged_at VARCHAR(23), 
	acknowledged_by TEXT, 
	acknowledged_until VARCHAR(23), 
	resolved_at VARCHAR(23), 
	resolution TEXT, cause TEXT, 
	CONSTRAINT ck_incidents_resolution CHECK (resolution IN ('recovered', 'removed', 'superseded')), 
	CONSTRAINT ck_incidents_rule CHECK (rule IN ('token_expiry', 'renewal_overdue', 'publish_error', 'connection_removed', 'connection_test_failed', 'api_key_rejected', 'access_denied', 'user_not_managed', 'api_unreachable', 'bad_answer', 'reconnect_link_expiring', 'channel_failing')), 
	CONSTRAINT ck_incidents_severity CHECK (severity IN ('notice', 'warning', 'critical')), 
	CONSTRAINT ck_incidents_worst CHECK (worst IN ('notice', 'warning', 'critical')), 
	CONSTRAINT ck_incidents_resolved CHECK ((resolved_at IS NULL) = (resolution IS NULL)), 
	CONSTRAINT fk_incidents_connection_id FOREIGN KEY(connection_id) REFERENCES connections (id) ON DELETE CASCADE, 
	CONSTRAINT fk_incidents_target_id FOREIGN KEY(target_id) REFERENCES targets (id) ON DELETE CASCADE
);
INSERT INTO "incidents" VALUES(1,'token_expiry','connection:1:instagram-1784','agency',1,2,NULL,'critical','critical','token expired at 2026-02-22 23:00 UTC','','2026-02-22 23:00:00.000','{"2026-02-25 20:00 UTC": 4, "2026-02-22 23:00 UTC": 4}','2026-02-22 20:15:00.000',0,NULL,NULL,NULL,NULL,'2026-02-23 01:15:00.000','recovered','authorisation');
INSERT INTO "incidents" VALUES(2,'publish_error','connection:2:youtube-1','agency',2,3,NULL,'warning','warning','publishing failed at 2026-02-22 22:00 UTC, the content was refused: Media upload failed: Invalid image format','mend what the platform refused and publish again',NULL,'{"media upload failed: invalid image format": 2}','2026-02-22 22:15:00.000',0,NULL,NULL,NULL,NULL,NULL,NULL,'content');
INSERT INTO "incidents" VALUES(3,'api_unreachable','target:3','agency',3,NULL,NULL,'warning','warning','the API failed: server_error','wait',NULL,'{"api_unreachable": 1}','2026-02-22 22:45:00.000',0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "incidents" VALUES(4,'token_expiry','connection:1:instagram-1784','agency',1,2,NULL,'critical','critical','token expired at 2026-02-23 01:00 UTC','','2026-02-23 01:00:00.000','{"2026-02-23 01:00 UTC": 4}','2026-02-23 02:15:00.000',0,NULL,NULL,NULL,NULL,NULL,NULL,'authorisation');
INSERT INTO "incidents" VALUES(5,'connection_removed','connection:1:linkedin-Tz9W5i6ZYG','agency',1,1,NULL,'notice','notice','the API no longer lists this connection; it was last seen at 2026-02-23 02:00 UTC','connect the account again, unless it was disconnected on purpose',NULL,'{"": 1}','2026-02-23 02:45:00.000',0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE notifications (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	incident_id INTEGER, 
	channel TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	group_key TEXT NOT NULL, 
	state TEXT NOT NULL, 
	attempts INTEGER DEFAULT '0' NOT NULL, 
	created_at VARCHAR(23) NOT NULL, 
	due_at VARCHAR(23) NOT NULL, 
	first_tried_at VARCHAR(23), 
	claim TEXT, 
	held_until VARCHAR(23), 
	silence_id INTEGER, 
	leased_until VARCHAR(23), 
	delivered_at VARCHAR(23), 
	told TEXT, 
	error TEXT, 
	CONSTRAINT ck_notifications_reason CHECK (reason IN ('opened', 'escalated', 'updated', 'reminder', 'resolved', 'digest', 'test')), 
	CONSTRAINT ck_notifications_state CHECK (state IN ('pending', 'sending', 'delivered', 'failed')), 
	CONSTRAINT fk_notifications_incident_id FOREIGN KEY(incident_id) REFERENCES incidents (id) ON DELETE CASCADE, 
	CONSTRAINT fk_notifications_silence_id FOREIGN KEY(silence_id) REFERENCES silences (id)
);
INSERT INTO "notifications" VALUES(1,1,'ops','opened','account=agency','delivered',1,'2026-02-22 20:15:00.000','2026-02-22 20:15:00.000','2026-02-22 20:15:00.000','m1',NULL,NULL,NULL,'2026-02-22 20:15:00.000','warning',NULL);
INSERT INTO "notifications" VALUES(2,2,'ops','opened','account=agency','delivered',1,'2026-02-22 22:15:00.000','2026-02-22 22:15:00.000','2026-02-22 22:15:00.000','m3',NULL,NULL,NULL,'2026-02-22 22:15:00.000','warning',NULL);
INSERT INTO "notifications" VALUES(3,3,'ops','opened','account=agency','delivered',1,'2026-02-22 22:45:00.000','2026-02-22 22:45:00.000','2026-02-22 22:45:00.000','m5',NULL,NULL,NULL,'2026-02-22 22:45:00.000','warning',NULL);
INSERT INTO "notifications" VALUES(4,1,'ops','escalated','account=agency','delivered',1,'2026-02-23 00:15:00.000','2026-02-23 00:15:00.000','2026-02-23 00:15:00.000','m7',NULL,NULL,NULL,'2026-02-23 00:15:00.000','critical',NULL);
INSERT INTO "notifications" VALUES(5,1,'ops','resolved','account=agency','delivered',1,'2026-02-23 01:15:00.000','2026-02-23 01:15:00.000','2026-02-23 01:15:00.000','m9',NULL,NULL,NULL,'2026-02-23 01:15:00.000','resolved',NULL);
INSERT INTO "notifications" VALUES(6,4,'ops','opened','account=agency','delivered',1,'2026-02-23 02:15:00.000','2026-02-23 02:15:00.000','2026-02-23 02:15:00.000','m11',NULL,NULL,NULL,'2026-02-23 02:15:00.000','critical',NULL);
INSERT INTO "notifications" VALUES(7,5,'ops','opened','account=agency','delivered',1,'2026-02-23 02:45:00.000','2026-02-23 02:45:00.000','2026-02-23 02:45:00.000','m13',NULL,NULL,NULL,'2026-02-23 02:45:00.000','notice',NULL);
CREATE TABLE poll_runs (
	id INTEGER NOT NULL, 
	target_id INTEGER NOT NULL, 
	outcome TEXT NOT NULL, 
	http_status INTEGER, 
	error TEXT, 
	first_at VARCHAR(23) NOT NULL, 
	last_at VARCHAR(23), 
	polls INTEGER, 
	CONSTRAINT pk_poll_runs PRIMARY KEY (id), 
	CONSTRAINT ck_poll_runs_outcome CHECK (outcome IN ('ok', 'bad_request', 'unauthorized', 'forbidden', 'rate_limited', 'server_error', 'network_error', 'timeout', 'bad_answer')), 
	CONSTRAINT fk_poll_runs_target_id FOREIGN KEY(target_id) REFERENCES targets (id) ON DELETE CASCADE
);
INSERT INTO "poll_runs" VALUES(1,1,'ok',200,NULL,'2026-02-22 20:15:00.000',NULL,NULL);
INSERT INTO "poll_runs" VALUES(2,2,'ok',200,NULL,'2026-02-22 20:15:00.000',NULL,NULL);
INSERT INTO "poll_runs" VALUES(3,3,'ok',200,NULL,'2026-02-22 20:15:00.000','2026-02-22 22:00:00.000',8);
INSERT INTO "poll_runs" VALUES(4,3,'server_error',NULL,'the API failed: server_error','2026-02-22 22:15:00.000',NULL,NULL);
CREATE TABLE polls (
	target_id INTEGER NOT NULL, 
	next_poll_at BIGINT NOT NULL, 
	last_at BIGINT, 
	polls INTEGER DEFAULT '0' NOT NULL, 
	run_id INTEGER, 
	CONSTRAINT pk_polls PRIMARY KEY (target_id), 
	CONSTRAINT fk_polls_target_id FOREIGN KEY(target_id) REFERENCES targets (id) ON DELETE CASCADE
);
INSERT INTO "polls" VALUES(1,1771820100000,1771819200000,32,1);
INSERT INTO "polls" VALUES(2,1771820100000,1771819200000,32,2);
INSERT INTO "polls" VALUES(3,1771820100000,1771819200000,24,4);
CREATE TABLE probes (
	connection_id INTEGER NOT NULL, 
	tested_at VARCHAR(23) NOT NULL, 
	next_test_at VARCHAR(23) NOT NULL, 
	meaning TEXT, 
	meant_at VARCHAR(23), 
	message TEXT NOT NULL, 
	permissions TEXT NOT NULL, 
	lost TEXT NOT NULL, 
	CONSTRAINT pk_probes PRIMARY KEY (connection_id), 
	CONSTRAINT fk_probes_connection_id FOREIGN KEY(connection_id) REFERENCES connections (id) ON DELETE CASCADE
);
CREATE TABLE silences (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	"match" TEXT NOT NULL, 
	"by" TEXT NOT NULL, 
	why TEXT NOT NULL, 
	starts_at VARCHAR(23) NOT NULL, 
	ends_at VARCHAR(23) NOT NULL, 
	ended_at VARCHAR(23), 
	ended_by TEXT
);
INSERT INTO "silences" VALUES(1,'{"managed_user": ["Client*"]}','mia','it''s known','2026-02-22 22:00:00.000','2026-03-24 22:00:00.000',NULL,NULL);
CREATE TABLE snapshots (
	id INTEGER NOT NULL, 
	connection_id INTEGER NOT NULL, 
	taken_at VARCHAR(23) NOT NULL, 
	from_status TEXT, 
	token_status TEXT NOT NULL, 
	expires_at VARCHAR(23), 
	last_successful_post_at VARCHAR(23), 
	last_error TEXT, 
	last_error_at VARCHAR(23), 
	removed_at VARCHAR(23), 
	CONSTRAINT pk_snapshots PRIMARY KEY (id), 
	CONSTRAINT fk_snapshots_connection_id FOREIGN KEY(connection_id) REFERENCES connections (id) ON DELETE CASCADE
);
INSERT INTO "snapshots" VALUES(1,1,'2026-02-22 20:15:00.000',NULL,'valid','2026-04-23 20:00:00.000',NULL,NULL,NULL,NULL);
INSERT INTO "snapshots" VALUES(2,2,'2026-02-22 20:15:00.000',NULL,'expiring_soon','2026-02-25 20:00:00.000',NULL,NULL,NULL,NULL);
INSERT INTO "snapshots" VALUES(3,3,'2026-02-22 20:15:00.000',NULL,'valid',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "snapshots" VALUES(4,4,'2026-02-22 20:15:00.000',NULL,'valid',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "snapshots" VALUES(5,5,'2026-02-22 20:15:00.000',NULL,'unknown',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "snapshots" VALUES(6,3,'2026-02-22 22:15:00.000','valid','valid',NULL,NULL,'Media upload failed: Invalid image format','2026-02-22 22:00:00.000',NULL);
INSERT INTO "snapshots" VALUES(7,2,'2026-02-23 00:15:00.000','expiring_soon','expired','2026-02-22 23:00:00.000',NULL,NULL,NULL,NULL);
INSERT INTO "snapshots" VALUES(8,2,'2026-02-23 01:15:00.000','expired','valid','2026-04-24 01:00:00.000',NULL,NULL,NULL,NULL);
INSERT INTO "snapshots" VALUES(9,2,'2026-02-23 02:15:00.000','valid','expired','2026-02-23 01:00:00.000',NULL,NULL,NULL,NULL);
INSERT INTO "snapshots" VALUES(10,1,'2026-02-23 02:45:00.000','valid','valid','2026-04-23 20:00:00.000',NULL,NULL,NULL,'2026-02-23 02:45:00.000');
CREATE TABLE sources (
	account TEXT NOT NULL, 
	next_discovery_at VARCHAR(23), 
	discovered_at VARCHAR(23), 
	failures INTEGER DEFAULT '0' NOT NULL, 
	failing_since VARCHAR(23), 
	failed_at VARCHAR(23), 
	failure_rule TEXT, 
	failure_reach TEXT, 
	failure_error TEXT, 
	failure_remedy TEXT, 
	paused_at VARCHAR(23), 
	paused_reach TEXT, 
	probe_id INTEGER, 
	CONSTRAINT pk_sources PRIMARY KEY (account)
);
CREATE TABLE targets (
	id INTEGER NOT NULL, 
	account TEXT NOT NULL, 
	managed_user_id TEXT, 
	managed_user TEXT, 
	first_seen_at VARCHAR(23) NOT NULL, 
	detached_at VARCHAR(23), 
	last_ok_at VARCHAR(23), 
	failures INTEGER DEFAULT '0' NOT NULL, 
	failing_since VARCHAR(23), 
	failure_rule TEXT, 
	failure_remedy TEXT, 
	fingerprint BLOB, 
	next_review_at VARCHAR(23), 
	doubted INTEGER DEFAULT '0' NOT NULL, managed_username TEXT, missing_since VARCHAR(23), failure_reach TEXT, failed_alone INTEGER DEFAULT '0' NOT NULL, 
	CONSTRAINT pk_targets PRIMARY KEY (id)
);
INSERT INTO "targets" VALUES(1,'agency',NULL,NULL,'2026-02-22 20:00:00.000',NULL,'2026-02-23 02:45:00.000',0,NULL,NULL,NULL,X'28436F6E6E656374696F6E28706C6174666F726D5F69643D27696E7374616772616D2D31373834272C20757365726E616D653D276272616E64272C20646973706C61795F6E616D653D274A6F686E20446F65272C20746F6B656E5F7374617475733D2765787069726564272C20657870697265735F61743D6461746574696D652E6461746574696D6528323032362C20322C2032332C20312C20302C20747A696E666F3D6461746574696D652E74696D657A6F6E652E757463292C206C6173745F7375636365737366756C5F706F73745F61743D4E6F6E652C206C6173745F6572726F723D4E6F6E65292C29','2026-02-24 02:45:00.000',0,NULL,NULL,NULL,0);
INSERT INTO "targets" VALUES(2,'agency','65a1b2c3d4e5f60718293a4b',NULL,'2026-02-22 20:00:00.000',NULL,'2026-02-22 22:15:00.000',0,NULL,NULL,NULL,X'28436F6E6E656374696F6E28706C6174666F726D5F69643D27796F75747562652D31272C20757365726E616D653D27636C69656E74272C20646973706C61795F6E616D653D27436C69656E7420262053C3B6686E65272C20746F6B656E5F7374617475733D2776616C6964272C20657870697265735F61743D4E6F6E652C206C6173745F7375636365737366756C5F706F73745F61743D4E6F6E652C206C6173745F6572726F723D5075626C6973684572726F72286D6573736167653D274D656469612075706C6F6164206661696C65643A20496E76616C696420696D61676520666F726D6174272C206F636375727265645F61743D6461746574696D652E6461746574696D6528323032362C20322C2032322C2032322C20302C20747A696E666F3D6461746574696D652E74696D657A6F6E652E7574632929292C29',NULL,0,NULL,NULL,NULL,0);
INSERT INTO "targets" VALUES(3,'agency','65a1b2c3d4e5f60718293a4c',NULL,'2026-02-22 20:00:00.000',NULL,'2026-02-22 22:00:00.000',24,'2026-02-22 22:15:00.000','api_unreachable','wait',NULL,NULL,0,NULL,NULL,'unclear',23);
CREATE UNIQUE INDEX uq_targets_account_managed_user_id ON targets (account, coalesce(managed_user_id, ''));
CREATE INDEX ix_targets_next_review_at ON targets (next_review_at);
CREATE UNIQUE INDEX uq_connections_target_id_platform_id ON connections (target_id, platform_id);
CREATE INDEX ix_poll_runs_target_id_first_at ON poll_runs (target_id, first_at);
CREATE INDEX ix_incidents_connection_id ON incidents (connection_id);
CREATE INDEX ix_incidents_target_id_opened_at ON incidents (target_id, opened_at);
CREATE INDEX ix_incidents_open_target_id ON incidents (target_id) WHERE resolved_at IS NULL;
CREATE UNIQUE INDEX uq_incidents_open ON incidents (rule, subject) WHERE resolved_at IS NULL;
CREATE INDEX ix_snapshots_connection_id_taken_at ON snapshots (connection_id, taken_at);
CREATE INDEX ix_acknowledgements_incident_id ON acknowledgements (incident_id);
CREATE INDEX ix_notifications_incident_id_channel ON notifications (incident_id, channel);
CREATE INDEX ix_notifications_unsent ON notifications (channel, due_at) WHERE state IN ('pending', 'sending');
CREATE VIEW delivery_log AS
    SELECT n.id, n.incident_id, n.channel, n.reason, n.state, n.attempts, n.created_at, n.delivered_at,
           n.error, n.claim AS message
    FROM notifications n;
CREATE VIEW current_connections AS
    SELECT t.account, t.managed_user_id, t.managed_user, c.platform, c.platform_id, c.username,
           c.display_name, c.token_status, c.expires_at, c.last_successful_post_at, c.last_error,
           c.last_error_at,
           c.first_seen_at,
           coalesce(c.last_seen_at, CASE WHEN t.failures = 0 THEN strftime('%Y-%m-%d %H:%M:%f', p.last_at / 1000.0, 'unixepoch') ELSE t.last_ok_at END)
               AS last_seen_at,
           c.removed_at, c.id
    FROM connections c
    JOIN targets t ON t.id = c.target_id
    JOIN polls p ON p.target_id = t.id;
CREATE VIEW token_transitions AS
    SELECT s.taken_at AS at, t.account, t.managed_user_id, c.platform, c.platform_id, c.username,
           s.from_status, s.token_status AS to_status, s.expires_at, s.id, t.managed_user
    FROM snapshots s
    JOIN connections c ON c.id = s.connection_id
    JOIN targets t ON t.id = c.target_id
    WHERE s.from_status IS NULL OR s.from_status <> s.token_status;
CREATE VIEW incident_log AS
    SELECT i.id, i.account, t.managed_user_id, c.platform, c.platform_id, c.username, i.rule, i.severity,
           i.summary, i.opened_at, i.acknowledged_at, i.acknowledged_by, i.resolved_at, i.resolution,
           i.deadline_at, t.managed_user, i.cause
    FROM incidents i
    LEFT JOIN targets t ON t.id = i.target_id
    LEFT JOIN connections c ON c.id = i.connection_id;
CREATE VIEW poll_log AS
    SELECT t.account, t.managed_user_id, r.outcome, r.http_status, r.error, r.first_at,
           coalesce(r.last_at, strftime('%Y-%m-%d %H:%M:%f', p.last_at / 1000.0, 'unixepoch')) AS last_at, coalesce(r.polls, p.polls) AS polls, r.id,
           t.managed_user
    FROM poll_runs r
    JOIN targets t ON t.id = r.target_id
    LEFT JOIN polls p ON p.run_id = r.id;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('incidents',5);
INSERT INTO "sqlite_sequence" VALUES('notifications',7);
INSERT INTO "sqlite_sequence" VALUES('silences',1);
COMMIT;
