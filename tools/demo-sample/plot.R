# Draws the measured tides and a smooth line through them.
tides <- read.csv("data/tides.csv")
wave <- lm(metres ~ sin(2 * pi / 12.42 * hour) + cos(2 * pi / 12.42 * hour), data = tides)
print(summary(wave)$r.squared)

png("tides.png", width = 800, height = 400)
plot(metres ~ hour, data = tides, pch = 19, col = "steelblue", xlab = "hours", ylab = "metres")
lines(tides$hour, predict(wave), lwd = 2, col = "tomato")
dev.off()
