CREATE TABLE public.acknowledgements (
    id integer NOT NULL,
    incident_id integer NOT NULL,
    by text NOT NULL,
    why text NOT NULL,
    acknowledged_at timestamp with time zone NOT NULL,
    until timestamp with time zone,
    ended_at timestamp with time zone
);
CREATE SEQUENCE public.acknowledgements_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.acknowledgements_id_seq OWNED BY public.acknowledgements.id;
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.connections (
    id integer NOT NULL,
    target_id integer NOT NULL,
    platform text NOT NULL,
    platform_id text NOT NULL,
    username text NOT NULL,
    display_name text,
    token_status text NOT NULL,
    expires_at timestamp with time zone,
    last_successful_post_at timestamp with time zone,
    last_error text,
    last_error_at timestamp with time zone,
    error_seen_at timestamp with time zone,
    settled_error_at timestamp with time zone,
    first_seen_at timestamp with time zone NOT NULL,
    last_seen_at timestamp with time zone,
    missing integer DEFAULT 0 NOT NULL,
    removed_at timestamp with time zone,
    dated_at timestamp with time zone,
    renewed_at timestamp with time zone,
    renewals integer DEFAULT 0 NOT NULL,
    habit text
);
CREATE SEQUENCE public.connections_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.connections_id_seq OWNED BY public.connections.id;
CREATE TABLE public.polls (
    target_id integer NOT NULL,
    next_poll_at timestamp with time zone NOT NULL,
    last_at timestamp with time zone,
    polls integer DEFAULT 0 NOT NULL,
    run_id integer
);
CREATE TABLE public.targets (
    id integer NOT NULL,
    account text NOT NULL,
    managed_user_id text,
    managed_user text,
    first_seen_at timestamp with time zone NOT NULL,
    detached_at timestamp with time zone,
    last_ok_at timestamp with time zone,
    failures integer DEFAULT 0 NOT NULL,
    failing_since timestamp with time zone,
    failure_rule text,
    failure_remedy text,
    fingerprint bytea,
    next_review_at timestamp with time zone,
    doubted integer DEFAULT 0 NOT NULL,
    managed_username text,
    missing_since timestamp with time zone,
    failure_reach text,
    failed_alone integer DEFAULT 0 NOT NULL
);
CREATE VIEW public.current_connections AS
 SELECT t.account,
    t.managed_user_id,
    t.managed_user,
    c.platform,
    c.platform_id,
    c.username,
    c.display_name,
    c.token_status,
    c.expires_at,
    c.last_successful_post_at,
    c.last_error,
    c.last_error_at,
    c.first_seen_at,
    COALESCE(c.last_seen_at,
        CASE
            WHEN (t.failures = 0) THEN p.last_at
            ELSE t.last_ok_at
        END) AS last_seen_at,
    c.removed_at,
    c.id
   FROM ((public.connections c
     JOIN public.targets t ON ((t.id = c.target_id)))
     JOIN public.polls p ON ((p.target_id = t.id)));
CREATE TABLE public.notifications (
    id integer NOT NULL,
    incident_id integer,
    channel text NOT NULL,
    reason text NOT NULL,
    group_key text NOT NULL,
    state text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    created_at timestamp with time zone NOT NULL,
    due_at timestamp with time zone NOT NULL,
    first_tried_at timestamp with time zone,
    claim text,
    held_until timestamp with time zone,
    silence_id integer,
    leased_until timestamp with time zone,
    delivered_at timestamp with time zone,
    told text,
    error text,
    CONSTRAINT ck_notifications_reason CHECK ((reason = ANY (ARRAY['opened'::text, 'escalated'::text, 'updated'::text, 'reminder'::text, 'resolved'::text, 'digest'::text, 'test'::text]))),
    CONSTRAINT ck_notifications_state CHECK ((state = ANY (ARRAY['pending'::text, 'sending'::text, 'delivered'::text, 'failed'::text])))
);
CREATE VIEW public.delivery_log AS
 SELECT id,
    incident_id,
    channel,
    reason,
    state,
    attempts,
    created_at,
    delivered_at,
    error,
    claim AS message
   FROM public.notifications n;
CREATE TABLE public.incidents (
    id integer NOT NULL,
    rule text NOT NULL,
    subject text NOT NULL,
    account text,
    target_id integer,
    connection_id integer,
    channel text,
    severity text NOT NULL,
    worst text NOT NULL,
    summary text NOT NULL,
    remedy text NOT NULL,
    deadline_at timestamp with time zone,
    memory text NOT NULL,
    opened_at timestamp with time zone NOT NULL,
    flaps integer DEFAULT 0 NOT NULL,
    calm_since timestamp with time zone,
    acknowledged_at timestamp with time zone,
    acknowledged_by text,
    acknowledged_until timestamp with time zone,
    resolved_at timestamp with time zone,
    resolution text,
    cause text,
    CONSTRAINT ck_incidents_resolution CHECK ((resolution = ANY (ARRAY['recovered'::text, 'removed'::text, 'superseded'::text]))),
    CONSTRAINT ck_incidents_resolved CHECK (((resolved_at IS NULL) = (resolution IS NULL))),
    CONSTRAINT ck_incidents_rule CHECK ((rule = ANY (ARRAY['token_expiry'::text, 'renewal_overdue'::text, 'publish_error'::text, 'connection_removed'::text, 'connection_test_failed'::text, 'api_key_rejected'::text, 'access_denied'::text, 'user_not_managed'::text, 'api_unreachable'::text, 'bad_answer'::text, 'reconnect_link_expiring'::text, 'channel_failing'::text]))),
    CONSTRAINT ck_incidents_severity CHECK ((severity = ANY (ARRAY['notice'::text, 'warning'::text, 'critical'::text]))),
    CONSTRAINT ck_incidents_worst CHECK ((worst = ANY (ARRAY['notice'::text, 'warning'::text, 'critical'::text])))
);
CREATE VIEW public.incident_log AS
 SELECT i.id,
    i.account,
    t.managed_user_id,
    c.platform,
    c.platform_id,
    c.username,
    i.rule,
    i.severity,
    i.summary,
    i.opened_at,
    i.acknowledged_at,
    i.acknowledged_by,
    i.resolved_at,
    i.resolution,
    i.deadline_at,
    t.managed_user,
    i.cause
   FROM ((public.incidents i
     LEFT JOIN public.targets t ON ((t.id = i.target_id)))
     LEFT JOIN public.connections c ON ((c.id = i.connection_id)));
CREATE SEQUENCE public.incidents_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.incidents_id_seq OWNED BY public.incidents.id;
CREATE SEQUENCE public.notifications_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.notifications_id_seq OWNED BY public.notifications.id;
CREATE TABLE public.poll_runs (
    id integer NOT NULL,
    target_id integer NOT NULL,
    outcome text NOT NULL,
    http_status integer,
    error text,
    first_at timestamp with time zone NOT NULL,
    last_at timestamp with time zone,
    polls integer,
    CONSTRAINT ck_poll_runs_outcome CHECK ((outcome = ANY (ARRAY['ok'::text, 'bad_request'::text, 'unauthorized'::text, 'forbidden'::text, 'rate_limited'::text, 'server_error'::text, 'network_error'::text, 'timeout'::text, 'bad_answer'::text])))
);
CREATE VIEW public.poll_log AS
 SELECT t.account,
    t.managed_user_id,
    r.outcome,
    r.http_status,
    r.error,
    r.first_at,
    COALESCE(r.last_at, p.last_at) AS last_at,
    COALESCE(r.polls, p.polls) AS polls,
    r.id,
    t.managed_user
   FROM ((public.poll_runs r
     JOIN public.targets t ON ((t.id = r.target_id)))
     LEFT JOIN public.polls p ON ((p.run_id = r.id)));
CREATE SEQUENCE public.poll_runs_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.poll_runs_id_seq OWNED BY public.poll_runs.id;
CREATE TABLE public.probes (
    connection_id integer NOT NULL,
    tested_at timestamp with time zone NOT NULL,
    next_test_at timestamp with time zone NOT NULL,
    meaning text,
    meant_at timestamp with time zone,
    message text NOT NULL,
    permissions text NOT NULL,
    lost text NOT NULL
);
CREATE TABLE public.silences (
    id integer NOT NULL,
    match text NOT NULL,
    by text NOT NULL,
    why text NOT NULL,
    starts_at timestamp with time zone NOT NULL,
    ends_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    ended_by text
);
CREATE SEQUENCE public.silences_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.silences_id_seq OWNED BY public.silences.id;
CREATE TABLE public.snapshots (
    id integer NOT NULL,
    connection_id integer NOT NULL,
    taken_at timestamp with time zone NOT NULL,
    from_status text,
    token_status text NOT NULL,
    expires_at timestamp with time zone,
    last_successful_post_at timestamp with time zone,
    last_error text,
    last_error_at timestamp with time zone,
    removed_at timestamp with time zone
);
CREATE SEQUENCE public.snapshots_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.snapshots_id_seq OWNED BY public.snapshots.id;
CREATE TABLE public.sources (
    account text NOT NULL,
    next_discovery_at timestamp with time zone,
    discovered_at timestamp with time zone,
    failures integer DEFAULT 0 NOT NULL,
    failing_since timestamp with time zone,
    failed_at timestamp with time zone,
    failure_rule text,
    failure_reach text,
    failure_error text,
    failure_remedy text,
    paused_at timestamp with time zone,
    paused_reach text,
    probe_id integer
);
CREATE SEQUENCE public.targets_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.targets_id_seq OWNED BY public.targets.id;
CREATE VIEW public.token_transitions AS
 SELECT s.taken_at AS at,
    t.account,
    t.managed_user_id,
    c.platform,
    c.platform_id,
    c.username,
    s.from_status,
    s.token_status AS to_status,
    s.expires_at,
    s.id,
    t.managed_user
   FROM ((public.snapshots s
     JOIN public.connections c ON ((c.id = s.connection_id)))
     JOIN public.targets t ON ((t.id = c.target_id)))
  WHERE ((s.from_status IS NULL) OR (s.from_status <> s.token_status));
ALTER TABLE ONLY public.acknowledgements ALTER COLUMN id SET DEFAULT nextval('public.acknowledgements_id_seq'::regclass);
ALTER TABLE ONLY public.connections ALTER COLUMN id SET DEFAULT nextval('public.connections_id_seq'::regclass);
ALTER TABLE ONLY public.incidents ALTER COLUMN id SET DEFAULT nextval('public.incidents_id_seq'::regclass);
ALTER TABLE ONLY public.notifications ALTER COLUMN id SET DEFAULT nextval('public.notifications_id_seq'::regclass);
ALTER TABLE ONLY public.poll_runs ALTER COLUMN id SET DEFAULT nextval('public.poll_runs_id_seq'::regclass);
ALTER TABLE ONLY public.silences ALTER COLUMN id SET DEFAULT nextval('public.silences_id_seq'::regclass);
ALTER TABLE ONLY public.snapshots ALTER COLUMN id SET DEFAULT nextval('public.snapshots_id_seq'::regclass);
ALTER TABLE ONLY public.targets ALTER COLUMN id SET DEFAULT nextval('public.targets_id_seq'::regclass);
INSERT INTO public.acknowledgements VALUES (1, 1, 'mia', 'asked the client', '2026-02-22 22:00:00+00', NULL, '2026-02-23 00:15:00+00');
INSERT INTO public.alembic_version VALUES ('0002');
INSERT INTO public.connections VALUES (4, 3, 'youtube', 'youtube-1', 'client', 'Client & Söhne', 'valid', NULL, NULL, NULL, NULL, NULL, NULL, '2026-02-22 20:15:00+00', NULL, 0, NULL, NULL, NULL, 0, NULL);
INSERT INTO public.connections VALUES (5, 3, 'twitter', 'twitter-2', 'johndoe', 'John Doe', 'unknown', NULL, NULL, NULL, NULL, NULL, NULL, '2026-02-22 20:15:00+00', NULL, 0, NULL, NULL, NULL, 0, NULL);
INSERT INTO public.connections VALUES (3, 2, 'youtube', 'youtube-1', 'client', 'Client & Söhne', 'valid', NULL, NULL, 'Media upload failed: Invalid image format', '2026-02-22 22:00:00+00', '2026-02-22 22:15:00+00', NULL, '2026-02-22 20:15:00+00', NULL, 0, NULL, NULL, NULL, 0, NULL);
INSERT INTO public.connections VALUES (2, 1, 'instagram', 'instagram-1784', 'brand', 'John Doe', 'expired', '2026-02-23 01:00:00+00', NULL, NULL, NULL, NULL, NULL, '2026-02-22 20:15:00+00', NULL, 0, NULL, '2026-02-23 02:15:00+00', NULL, 0, NULL);
INSERT INTO public.connections VALUES (1, 1, 'linkedin', 'linkedin-Tz9W5i6ZYG', 'johndoe', 'John Doe', 'valid', '2026-04-23 20:00:00+00', NULL, NULL, NULL, NULL, NULL, '2026-02-22 20:15:00+00', '2026-02-23 02:00:00+00', 3, '2026-02-23 02:45:00+00', NULL, NULL, 0, NULL);
INSERT INTO public.incidents VALUES (2, 'publish_error', 'connection:2:youtube-1', 'agency', 2, 3, NULL, 'warning', 'warning', 'publishing failed at 2026-02-22 22:00 UTC, the content was refused: Media upload failed: Invalid image format', 'mend what the platform refused and publish again', NULL, '{"media upload failed: invalid image format": 2}', '2026-02-22 22:15:00+00', 0, NULL, NULL, NULL, NULL, NULL, NULL, 'content');
INSERT INTO public.incidents VALUES (3, 'api_unreachable', 'target:3', 'agency', 3, NULL, NULL, 'warning', 'warning', 'the API failed: server_error', 'wait', NULL, '{"api_unreachable": 1}', '2026-02-22 22:45:00+00', 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.incidents VALUES (1, 'token_expiry', 'connection:1:instagram-1784', 'agency', 1, 2, NULL, 'critical', 'critical', 'token expired at 2026-02-22 23:00 UTC', '', '2026-02-22 23:00:00+00', '{"2026-02-25 20:00 UTC": 4, "2026-02-22 23:00 UTC": 4}', '2026-02-22 20:15:00+00', 0, NULL, NULL, NULL, NULL, '2026-02-23 01:15:00+00', 'recovered', 'authorisation');
INSERT INTO public.incidents VALUES (4, 'token_expiry', 'connection:1:instagram-1784', 'agency', 1, 2, NULL, 'critical', 'critical', 'token expired at 2026-02-23 01:00 UTC', '', '2026-02-23 01:00:00+00', '{"2026-02-23 01:00 UTC": 4}', '2026-02-23 02:15:00+00', 0, NULL, NULL, NULL, NULL, NULL, NULL, 'authorisation');
INSERT INTO public.incidents VALUES (5, 'connection_removed', 'connection:1:linkedin-Tz9W5i6ZYG', 'agency', 1, 1, NULL, 'notice', 'notice', 'the API no longer lists this connection; it was last seen at 2026-02-23 02:00 UTC', 'connect the account again, unless it was disconnected on purpose', NULL, '{"": 1}', '2026-02-23 02:45:00+00', 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.notifications VALUES (1, 1, 'ops', 'opened', 'account=agency', 'delivered', 1, '2026-02-22 20:15:00+00', '2026-02-22 20:15:00+00', '2026-02-22 20:15:00+00', 'm1', NULL, NULL, NULL, '2026-02-22 20:15:00+00', 'warning', NULL);
INSERT INTO public.notifications VALUES (2, 2, 'ops', 'opened', 'account=agency', 'delivered', 1, '2026-02-22 22:15:00+00', '2026-02-22 22:15:00+00', '2026-02-22 22:15:00+00', 'm3', NULL, NULL, NULL, '2026-02-22 22:15:00+00', 'warning', NULL);
INSERT INTO public.notifications VALUES (3, 3, 'ops', 'opened', 'account=agency', 'delivered', 1, '2026-02-22 22:45:00+00', '2026-02-22 22:45:00+00', '2026-02-22 22:45:00+00', 'm5', NULL, NULL, NULL, '2026-02-22 22:45:00+00', 'warning', NULL);
INSERT INTO public.notifications VALUES (4, 1, 'ops', 'escalated', 'account=agency', 'delivered', 1, '2026-02-23 00:15:00+00', '2026-02-23 00:15:00+00', '2026-02-23 00:15:00+00', 'm7', NULL, NULL, NULL, '2026-02-23 00:15:00+00', 'critical', NULL);
INSERT INTO public.notifications VALUES (5, 1, 'ops', 'resolved', 'account=agency', 'delivered', 1, '2026-02-23 01:15:00+00', '2026-02-23 01:15:00+00', '2026-02-23 01:15:00+00', 'm9', NULL, NULL, NULL, '2026-02-23 01:15:00+00', 'resolved', NULL);
INSERT INTO public.notifications VALUES (6, 4, 'ops', 'opened', 'account=agency', 'delivered', 1, '2026-02-23 02:15:00+00', '2026-02-23 02:15:00+00', '2026-02-23 02:15:00+00', 'm11', NULL, NULL, NULL, '2026-02-23 02:15:00+00', 'critical', NULL);
INSERT INTO public.notifications VALUES (7, 5, 'ops', 'opened', 'account=agency', 'delivered', 1, '2026-02-23 02:45:00+00', '2026-02-23 02:45:00+00', '2026-02-23 02:45:00+00', 'm13', NULL, NULL, NULL, '2026-02-23 02:45:00+00', 'notice', NULL);
INSERT INTO public.poll_runs VALUES (1, 1, 'ok', 200, NULL, '2026-02-22 20:15:00+00', NULL, NULL);
INSERT INTO public.poll_runs VALUES (2, 2, 'ok', 200, NULL, '2026-02-22 20:15:00+00', NULL, NULL);
INSERT INTO public.poll_runs VALUES (3, 3, 'ok', 200, NULL, '2026-02-22 20:15:00+00', '2026-02-22 22:00:00+00', 8);
INSERT INTO public.poll_runs VALUES (4, 3, 'server_error', NULL, 'the API failed: server_error', '2026-02-22 22:15:00+00', NULL, NULL);
INSERT INTO public.polls VALUES (3, '2026-02-23 04:15:00+00', '2026-02-23 04:00:00+00', 24, 4);
INSERT INTO public.polls VALUES (1, '2026-02-23 04:15:00+00', '2026-02-23 04:00:00+00', 32, 1);
INSERT INTO public.polls VALUES (2, '2026-02-23 04:15:00+00', '2026-02-23 04:00:00+00', 32, 2);
INSERT INTO public.silences VALUES (1, '{"managed_user": ["Client*"]}', 'mia', 'it''s known', '2026-02-22 22:00:00+00', '2026-03-24 22:00:00+00', NULL, NULL);
INSERT INTO public.snapshots VALUES (1, 1, '2026-02-22 20:15:00+00', NULL, 'valid', '2026-04-23 20:00:00+00', NULL, NULL, NULL, NULL);
INSERT INTO public.snapshots VALUES (2, 2, '2026-02-22 20:15:00+00', NULL, 'expiring_soon', '2026-02-25 20:00:00+00', NULL, NULL, NULL, NULL);
INSERT INTO public.snapshots VALUES (3, 3, '2026-02-22 20:15:00+00', NULL, 'valid', NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.snapshots VALUES (4, 4, '2026-02-22 20:15:00+00', NULL, 'valid', NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.snapshots VALUES (5, 5, '2026-02-22 20:15:00+00', NULL, 'unknown', NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.snapshots VALUES (6, 3, '2026-02-22 22:15:00+00', 'valid', 'valid', NULL, NULL, 'Media upload failed: Invalid image format', '2026-02-22 22:00:00+00', NULL);
INSERT INTO public.snapshots VALUES (7, 2, '2026-02-23 00:15:00+00', 'expiring_soon', 'expired', '2026-02-22 23:00:00+00', NULL, NULL, NULL, NULL);
INSERT INTO public.snapshots VALUES (8, 2, '2026-02-23 01:15:00+00', 'expired', 'valid', '2026-04-24 01:00:00+00', NULL, NULL, NULL, NULL);
INSERT INTO public.snapshots VALUES (9, 2, '2026-02-23 02:15:00+00', 'valid', 'expired', '2026-02-23 01:00:00+00', NULL, NULL, NULL, NULL);
INSERT INTO public.snapshots VALUES (10, 1, '2026-02-23 02:45:00+00', 'valid', 'valid', '2026-04-23 20:00:00+00', NULL, NULL, NULL, '2026-02-23 02:45:00+00');
INSERT INTO public.targets VALUES (3, 'agency', '65a1b2c3d4e5f60718293a4c', NULL, '2026-02-22 20:00:00+00', NULL, '2026-02-22 22:00:00+00', 24, '2026-02-22 22:15:00+00', 'api_unreachable', 'wait', NULL, NULL, 0, NULL, NULL, 'unclear', 23);
INSERT INTO public.targets VALUES (2, 'agency', '65a1b2c3d4e5f60718293a4b', NULL, '2026-02-22 20:00:00+00', NULL, '2026-02-22 22:15:00+00', 0, NULL, NULL, NULL, '\x28436f6e6e656374696f6e28706c6174666f726d5f69643d27796f75747562652d31272c20757365726e616d653d27636c69656e74272c20646973706c61795f6e616d653d27436c69656e7420262053c3b6686e65272c20746f6b656e5f7374617475733d2776616c6964272c20657870697265735f61743d4e6f6e652c206c6173745f7375636365737366756c5f706f73745f61743d4e6f6e652c206c6173745f6572726f723d5075626c6973684572726f72286d6573736167653d274d656469612075706c6f6164206661696c65643a20496e76616c696420696d61676520666f726d6174272c206f636375727265645f61743d6461746574696d652e6461746574696d6528323032362c20322c2032322c2032322c20302c20747a696e666f3d6461746574696d652e74696d657a6f6e652e7574632929292c29', NULL, 0, NULL, NULL, NULL, 0);
INSERT INTO public.targets VALUES (1, 'agency', NULL, NULL, '2026-02-22 20:00:00+00', NULL, '2026-02-23 02:45:00+00', 0, NULL, NULL, NULL, '\x28436f6e6e656374696f6e28706c6174666f726d5f69643d27696e7374616772616d2d31373834272c20757365726e616d653d276272616e64272c20646973706c61795f6e616d653d274a6f686e20446f65272c20746f6b656e5f7374617475733d2765787069726564272c20657870697265735f61743d6461746574696d652e6461746574696d6528323032362c20322c2032332c20312c20302c20747a696e666f3d6461746574696d652e74696d657a6f6e652e757463292c206c6173745f7375636365737366756c5f706f73745f61743d4e6f6e652c206c6173745f6572726f723d4e6f6e65292c29', '2026-02-24 02:45:00+00', 0, NULL, NULL, NULL, 0);
SELECT pg_catalog.setval('public.acknowledgements_id_seq', 1, true);
SELECT pg_catalog.setval('public.connections_id_seq', 5, true);
SELECT pg_catalog.setval('public.incidents_id_seq', 5, true);
SELECT pg_catalog.setval('public.notifications_id_seq', 7, true);
SELECT pg_catalog.setval('public.poll_runs_id_seq', 4, true);
SELECT pg_catalog.setval('public.silences_id_seq', 1, true);
SELECT pg_catalog.setval('public.snapshots_id_seq', 10, true);
SELECT pg_catalog.setval('public.targets_id_seq', 3, true);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.acknowledgements
    ADD CONSTRAINT pk_acknowledgements PRIMARY KEY (id);
ALTER TABLE ONLY public.connections
    ADD CONSTRAINT pk_connections PRIMARY KEY (id);
ALTER TABLE ONLY public.incidents
    ADD CONSTRAINT pk_incidents PRIMARY KEY (id);
ALTER TABLE ONLY public.notifications
    ADD CONSTRAINT pk_notifications PRIMARY KEY (id);
ALTER TABLE ONLY public.poll_runs
    ADD CONSTRAINT pk_poll_runs PRIMARY KEY (id);
ALTER TABLE ONLY public.polls
    ADD CONSTRAINT pk_polls PRIMARY KEY (target_id);
ALTER TABLE ONLY public.probes
    ADD CONSTRAINT pk_probes PRIMARY KEY (connection_id);
ALTER TABLE ONLY public.silences
    ADD CONSTRAINT pk_silences PRIMARY KEY (id);
ALTER TABLE ONLY public.snapshots
    ADD CONSTRAINT pk_snapshots PRIMARY KEY (id);
ALTER TABLE ONLY public.sources
    ADD CONSTRAINT pk_sources PRIMARY KEY (account);
ALTER TABLE ONLY public.targets
    ADD CONSTRAINT pk_targets PRIMARY KEY (id);
CREATE INDEX ix_acknowledgements_incident_id ON public.acknowledgements USING btree (incident_id);
CREATE INDEX ix_incidents_connection_id ON public.incidents USING btree (connection_id);
CREATE INDEX ix_incidents_open_target_id ON public.incidents USING btree (target_id) WHERE (resolved_at IS NULL);
CREATE INDEX ix_incidents_target_id_opened_at ON public.incidents USING btree (target_id, opened_at);
CREATE INDEX ix_notifications_incident_id_channel ON public.notifications USING btree (incident_id, channel);
CREATE INDEX ix_notifications_unsent ON public.notifications USING btree (channel, due_at) WHERE (state = ANY (ARRAY['pending'::text, 'sending'::text]));
CREATE INDEX ix_poll_runs_target_id_first_at ON public.poll_runs USING btree (target_id, first_at);
CREATE INDEX ix_snapshots_connection_id_taken_at ON public.snapshots USING btree (connection_id, taken_at);
CREATE INDEX ix_targets_next_review_at ON public.targets USING btree (next_review_at);
CREATE UNIQUE INDEX uq_connections_target_id_platform_id ON public.connections USING btree (target_id, platform_id);
CREATE UNIQUE INDEX uq_incidents_open ON public.incidents USING btree (rule, subject) WHERE (resolved_at IS NULL);
CREATE UNIQUE INDEX uq_targets_account_managed_user_id ON public.targets USING btree (account, COALESCE(managed_user_id, ''::text));
ALTER TABLE ONLY public.acknowledgements
    ADD CONSTRAINT fk_acknowledgements_incident_id FOREIGN KEY (incident_id) REFERENCES public.incidents(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.connections
    ADD CONSTRAINT fk_connections_target_id FOREIGN KEY (target_id) REFERENCES public.targets(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.incidents
    ADD CONSTRAINT fk_incidents_connection_id FOREIGN KEY (connection_id) REFERENCES public.connections(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.incidents
    ADD CONSTRAINT fk_incidents_target_id FOREIGN KEY (target_id) REFERENCES public.targets(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.notifications
    ADD CONSTRAINT fk_notifications_incident_id FOREIGN KEY (incident_id) REFERENCES public.incidents(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.notifications
    ADD CONSTRAINT fk_notifications_silence_id FOREIGN KEY (silence_id) REFERENCES public.silences(id);
ALTER TABLE ONLY public.poll_runs
    ADD CONSTRAINT fk_poll_runs_target_id FOREIGN KEY (target_id) REFERENCES public.targets(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.polls
    ADD CONSTRAINT fk_polls_target_id FOREIGN KEY (target_id) REFERENCES public.targets(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.probes
    ADD CONSTRAINT fk_probes_connection_id FOREIGN KEY (connection_id) REFERENCES public.connections(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.snapshots
    ADD CONSTRAINT fk_snapshots_connection_id FOREIGN KEY (connection_id) REFERENCES public.connections(id) ON DELETE CASCADE;
