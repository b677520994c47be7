"""Services to begin with: the vendor's own example, and the agency that the sandbox serves."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from monitor.core.model import PublishError
from monitor.sandbox.profiles import SocialProfile
from monitor.sandbox.samples import SANDBOX_KEY, fill_sample
from tests.sandbox.service import FakeService

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
    """Make the agency that the sandbox serves."""
    fake_service = FakeService(clock)
    fill_sample(fake_service, key=key)
    return fake_service
