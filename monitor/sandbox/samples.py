"""Worlds to begin with: the vendor's own example, and an agency with all eleven platforms."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from monitor.core.model import PublishError
from monitor.sandbox.fake_service import FakeService
from monitor.sandbox.profiles import SocialProfile

# Of the legal shape, and a key to nothing but the sandbox.
SANDBOX_KEY = "sk_sandbox0_5a4db0c5.0123456789abcdef0123456789abcdef0123456789abcdef"

# When the vendor's example must have been taken for Instagram to have its 2 days and 12 hours left.
SEED_NOW = datetime(2026, 2, 22, 20, tzinfo=UTC)


def seed_world(clock: Callable[[], datetime], *, key: str = SANDBOX_KEY) -> FakeService:
    """
    Make the account of the vendor's example, its dates moved from SEED_NOW to now.

    One date is ours: the example's LinkedIn date and its "82d 4h" exclude each other, and the text is kept.
    """
    fake_service = FakeService(clock)
    fake_service.add_account(key)
    now = fake_service.now()

    def moved(day: int, hour: int, minute: int = 0) -> datetime:
        return now + (SEED_NOW.replace(day=day, hour=hour, minute=minute) - SEED_NOW)

    for profile in (
        SocialProfile(
            platform_id="twitter-123456789",
            username="yourhandle",
            display_name="Your Name",
            profile_image_url="https://pbs.twimg.com/profile_images/...",
            profile_url="https://twitter.com/yourhandle",
            last_successful_post_at=moved(20, 14, 30),
        ),
        SocialProfile(
            platform_id="linkedin-Tz9W5i6ZYG",
            username="John Doe",
            display_name="John Doe",
            profile_image_url="https://media.licdn.com/...",
            profile_url="https://linkedin.com/in/johndoe",
            expires_at=now + timedelta(days=82, hours=4),
            last_successful_post_at=moved(22, 9, 15),
        ),
        SocialProfile(
            platform_id="instagram-17841412345678",
            username="yourinstagram",
            display_name="Your Brand",
            profile_image_url="https://...",
            expires_at=moved(25, 8),
            last_error=PublishError(
                message="Media upload failed: Invalid image format",
                occurred_at=moved(21, 16, 45),
            ),
        ),
    ):
        fake_service.add_connection(profile)
    return fake_service


def sample_world(clock: Callable[[], datetime], *, key: str = SANDBOX_KEY) -> FakeService:
    """Make a small agency: its own profiles on all eleven platforms, and three managed users."""
    fake_service = FakeService(clock)
    fake_service.add_account(key, owner="studio@harbour.example")
    now = fake_service.now()

    def link(
        platform_id: str,
        username: str,
        name: str | None,
        left: timedelta | None = None,
        *,
        posted: timedelta | None = timedelta(hours=6),
        error: str | None = None,
        user: str | None = None,
    ) -> None:
        profile = SocialProfile(
            platform_id=platform_id,
            username=username,
            display_name=name,
            profile_url=f"https://social.example/{username.removeprefix('@')}",
            expires_at=None if left is None else now + left,
            is_rejected=left is not None and left <= timedelta(),
            last_successful_post_at=None if posted is None else now - posted,
            last_error=PublishError(message=error, occurred_at=now - timedelta(hours=2)) if error else None,
        )
        fake_service.add_connection(profile, user=user)

    def days(number: float) -> timedelta:
        return timedelta(days=number)

    link("twitter-901234567", "harbourstudio", "Harbour Studio")
    link("linkedin-Hb7Qd2RkLm", "Harbour Studio", "Harbour Studio", days(41.3))
    link("instagram-17841400011122", "harbour.studio", "Harbour Studio", days(6.4))
    link("threads-17841400011123", "harbour.studio", "Harbour Studio", days(2.1))
    link("tiktok-7123456789012345678", "harbourstudio", None, days(120))
    link("youtube-UCh4rb0urStud10Films", "@harbourstudio", "Harbour Studio Films", days(150), posted=days(9))
    link(
        "facebook-112233445566",
        "Harbour Studio",
        "Harbour Studio",
        days(-1.2),
        posted=days(2),
        error="Error validating access token: Session has expired",
    )
    link("bluesky-did:plc:h4rb0urstud10xyz", "harbour.bsky.social", "Harbour Studio")
    link("mastodon-109876543210987654", "@harbour@mastodon.social", "Harbour Studio")
    link("telegram--1001234567890", "harbournews", "Harbour News", posted=None)
    link("pinterest-549755885175", "harbourstudio", "Harbour Studio", days(20.5), posted=days(14))

    bakery = fake_service.add_user("hello@northbakery.example", display_name="North Bakery")
    link("instagram-17841400022233", "northbakery", "North Bakery", days(33), user=bakery)
    link("facebook-223344556677", "North Bakery", "North Bakery", days(50.2), user=bakery)
    fake_service.make_link(bakery)

    cycles = fake_service.add_user("team@veloworks.example", display_name="Velo Works")
    link("linkedin-Ve3Lo9WrKs", "Velo Works", "Velo Works GmbH", days(0.8), user=cycles)
    link("youtube-UCv3l0W0rks00000000", "@veloworks", "Velo Works", days(100), user=cycles)
    link("bluesky-did:plc:v3l0w0rks42", "veloworks.bsky.social", None, posted=None, user=cycles)

    fake_service.add_user("studio@stillempty.example", display_name="Nothing Linked Yet")
    return fake_service
