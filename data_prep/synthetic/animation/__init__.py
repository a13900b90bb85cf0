"""A procedurally animated person: poses, the ten actions of NW-UCLA, and people who differ."""
