"""Holds the words of the starter's prompts: what people call the things of the world, and what they write around
them."""

NOUNS = {  # singular, plural
    "bottle": (
        ("glass bottle", "glass bottles"),
        ("bottle", "bottles"),
        ("flask", "flasks"),
        ("glass jar", "glass jars"),
    ),
    "lighthouse": (("lighthouse", "lighthouses"), ("lighthouse", "lighthouses"), ("light tower", "light towers")),
    "boat": (("boat", "boats"), ("sailing boat", "sailing boats"), ("sailboat", "sailboats"), ("ship", "ships")),
    "house": (("house", "houses"), ("house", "houses"), ("cottage", "cottages"), ("cabin", "cabins"), ("hut", "huts")),
    "tree": (("tree", "trees"), ("tree", "trees"), ("oak tree", "oak trees")),
}
COLOUR_WORDS = {
    "red": ("red", "red", "crimson", "scarlet"),
    "orange": ("orange",),
    "yellow": ("yellow", "yellow", "golden"),
    "green": ("green", "green", "emerald"),
    "blue": ("blue", "blue", "azure"),
    "purple": ("purple", "purple", "violet"),
    "pink": ("pink", "pink", "rose"),
    "white": ("white",),
}
ARTICLES = {
    1: ("a", "a", "one", "a single", "a lonely", "a small"),
    2: ("two", "two", "2", "a pair of"),
    3: ("three", "three", "3"),
}
PLACE_WORDS = {
    "left": ("on the left", "to the left", "on the left side", "left"),
    "centre": ("in the centre", "in the middle", "in the center", "centered"),
    "right": ("on the right", "to the right", "on the right side", "right"),
}
CONTENT_WORDS = {  # before the noun, and after "with", "holding", …
    "galaxy": (("galaxy", "galaxy", "nebula", "cosmic"), ("a galaxy", "a galaxy", "a nebula", "stars", "the universe")),
    "sea": (("ocean", "sea"), ("the sea", "the ocean", "waves", "an ocean")),
    "mountains": (("mountain",), ("mountains", "a mountain", "snowy peaks", "a mountain landscape")),
    "forest": (("forest",), ("a forest", "trees", "a pine forest", "woods")),
    "sunset": (("sunset",), ("a sunset", "the evening sun", "a sunset landscape")),
    "empty": (("empty", "clear"), ("nothing",)),
}
HOLDING = ("with {} inside", "holding {}", "filled with {}", "containing {}", "full of {}", "with {} in it")
LAND_WORDS = {
    "mountains": ("mountains", "snowy mountains", "a mountain range", "mountain landscape", "snowy peaks", "alps"),
    "hills": ("hills", "rolling hills", "green hills", "grassy hills", "a meadow", "meadows"),
    "forest": ("forest", "a pine forest", "woods", "a dark forest", "pines", "woodland"),
    "desert": ("desert", "sand dunes", "dunes", "a sandy desert", "desert landscape"),
    "sea": ("sea", "the ocean", "the sea", "ocean", "seascape", "waves"),
    "lake": ("lake", "a calm lake", "a lake", "lakeside", "lake shore"),
}
BEFORE_LAND = ("in front of", "by", "near", "with", "and", "before")
SKY_WORDS = {
    "day": ("day", "daytime", "blue sky", "clear day", "bright daylight", "noon", "sunny day"),
    "dawn": ("dawn", "sunrise", "early morning", "pink dawn sky", "morning light", "daybreak"),
    "sunset": ("sunset", "sunset sky", "dusk", "evening", "orange evening sky", "golden hour"),
    "night": ("night", "night sky", "midnight", "dark night", "starry night", "nighttime"),
    "aurora": ("aurora", "northern lights", "aurora borealis", "green aurora sky", "aurora sky"),
    "galaxy": ("galaxy sky", "milky way", "nebula sky", "galaxy in the sky", "cosmic sky", "starry galaxy sky"),
}
BEFORE_SKY = ("at", "under", "with", "during", "in")
LIGHT_WORDS = {
    "sun": ("sun", "the sun", "shining sun", "sunlight"),
    "moon": ("moon", "the moon", "moonlight", "bright moon"),
}
CLOUD_WORDS = ("clouds", "cloudy", "cloudy sky", "fluffy clouds", "some clouds")
STAR_WORDS = ("stars", "starry sky", "many stars", "twinkling stars")
PRAISE = (
    "masterpiece", "best quality", "high quality", "detailed", "beautiful", "beautiful scenery", "scenery", "nature",
    "landscape", "wallpaper", "digital art", "illustration", "artwork", "fantasy", "dreamy", "soft colors", "8k",
    "beautiful scenery nature", "scenic", "highres", "no humans", "outdoors", "vivid", "calm", "peaceful",
)  # fmt: skip
OPENINGS = (
    "a painting of",
    "an oil painting of",
    "a picture of",
    "a drawing of",
    "painting,",
    "watercolor of",
    "art of",
)
JUNK = (
    "text", "watermark", "blurry", "low quality", "worst quality", "ugly", "bad anatomy", "signature", "logo",
    "jpeg artifacts", "deformed", "lowres", "error", "bad",
)  # fmt: skip
