"""The data of the sandbox: an agency with all eleven platforms."""

from datetime import timedelta

from monitor.core.model import PublishError
from monitor.sandbox.fake_service import FakeService
from monitor.sandbox.profiles import SocialProfile

# A key of valid shape that works only in the sandbox.
SANDBOX_KEY = "sk_sandbox0_5a4db0c5.0123456789abcdef0123456789abcdef0123456789abcdef"


def fill_sample(fake_service: FakeService, *, key: str = SANDBOX_KEY) -> None:
    """Add a small agency: its own profiles on all eleven platforms, and three managed users."""
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
